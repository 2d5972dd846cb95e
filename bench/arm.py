"""The agent on a 64-bit ARM that is emulated: parity alone, never a time."""

from bench._harness import Bench, Figure


def figure_1(bench: Bench) -> Figure:
    """The lean install and its agent, INT8 artifacts, outputs beside those of x86."""
    from bench._emulated import emulated

    return emulated(bench)
