"""The nouns of the walk: frozen values, no torch."""
