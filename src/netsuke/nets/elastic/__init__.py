"""One set of weights, many networks: units in the order of their worth, and a network run as a part of itself."""
