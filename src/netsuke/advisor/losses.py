"""What a technique usually costs in points of quality, as this project's own figures found it.

Points are of the metric's scale, against the original, on test samples; the sources are figures of
``python -m bench`` (their results are in ``bench/results``). Other networks lose more or less, so that each
comes with a wide range: what is lost is measured before anything is kept.
"""

from netsuke.core.guess import Guess

POINT = 0.01
QUANTIZE = "bench quantize, figures 1, 6, 7: −0.1 … 0.2 pt on ResNet-20, a MobileNet and MiniLM"
CHANNELS = (
    "bench walk, figure 2, and bench prune, figures 2, 6: 0.6 pt with 40 % of ResNet-20's weights gone, 0.8 with 62 % of "
    "ResNet-56's products, none with half of MiniLM's heads; between and beyond them by proportion"
)


def _points(value: float, low: float, high: float, source: str) -> Guess:
    return Guess(value=POINT * value, low=POINT * low, high=POINT * high, unit="pt", source=source)


STATIC = _points(0.1, -0.5, 1.0, QUANTIZE)
HALF = _points(0.0, -0.1, 0.1, "rounding to 11 bits changes hardly a prediction")
EIGHT_BIT_WEIGHTS = _points(0.0, -0.3, 0.3, QUANTIZE)
FOUR_BIT_WEIGHTS = _points(
    0.8, -0.3, 2.5, "bench quantize, figures 2, 7: 0.1 pt on ResNet-20, 1.1 on MiniLM"
)
FOUR_BITS_IN_BYTES = _points(
    0.2,
    -0.5,
    2.0,
    "bench quantize, figure 2, and bench advise, figure 2: weights of 4 bits by GPTQ, activations of 8",
)
TRAINED = _points(0.0, -0.7, 0.7, "bench quantize, figure 3")
ZEROS = _points(
    0.6, -0.5, 2.5, "bench prune, figure 1: 0.2 pt with nine of ten weights of LeNets gone"
)


def channels(ratio: float) -> Guess:
    """Of this share of the time and of the weights, retrained with the original as teacher."""
    value = 1.3 * ratio if ratio <= 0.6 else 1.3 * ratio + 8 * (ratio - 0.6)
    return _points(value, -0.7, 4 * value + 0.5, CHANNELS)


def joined(first: Guess, second: Guess) -> Guess:
    """Of two techniques one after the other: losses add up."""
    return Guess(
        value=first.value + second.value, low=first.low + second.low, high=first.high + second.high,
        unit="pt", source=f"{first.source}; {second.source}",
    )  # fmt: skip
