"""Agents, and networks spread over them: real processes on loopback."""

from bench._harness import Bench, Figure


def figure_1(bench: Bench) -> Figure:
    """MiniLM-L6 and ResNet-56 over two to four processes: what they give, and what two gain over one."""
    from bench._pipelined import pipelined

    return pipelined(bench)


def figure_2(bench: Bench) -> Figure:
    """A network that takes more memory than any device may, on three agents."""
    from bench._pipelined import within_limits

    return within_limits(bench)


def figure_3(bench: Bench) -> Figure:
    """A slow edge and a fast cloud, over links of three rates."""
    from bench._edge import split

    return split(bench)


def figure_4(bench: Bench) -> Figure:
    """Parts that are killed under way."""
    from bench._hardship import killed

    return killed(bench)


def figure_5(bench: Bench) -> Figure:
    """Many clients, a forced restart, a cut network, and strangers."""
    from bench._hardship import hardship

    return hardship(bench)
