"""The advisor: what it predicts against what is measured, and whether its first recipe meets the limits.

All on this machine, whose rates were measured as ``netsuke devices calibrate`` does, in the same run.
"""

from bench._harness import Bench, Figure


def figure_1(bench: Bench) -> Figure:
    """Predicted against measured size, latency and memory, FP32, INT8 and pruned."""
    from bench._predicted import predicted

    return predicted(bench)


def figure_2(bench: Bench) -> Figure:
    """Whether the first recipe meets the limits, and gives what was said of it."""
    from bench._first import first

    return first(bench)
