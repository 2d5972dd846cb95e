"""Training on several machines: what they tell each other.

Accuracies are on all test samples, over the seeds given; bytes are counted on the wire.
"""

from bench._harness import Bench, Figure


def figure_1(bench: Bench) -> Figure:
    """Channels that leave while it trains, and updates of the largest values, beside FedAvg."""
    from bench._federated import little

    return little(bench)


def figure_2(bench: Bench) -> Figure:
    """One hostile client of ten."""
    from bench._misled import hostile

    return hostile(bench)


def figure_3(bench: Bench) -> Figure:
    """A server that is killed, a client that is killed, a client that sleeps."""
    from bench._misled import failing

    return failing(bench)


def figure_4(bench: Bench) -> Figure:
    """What a round takes beside its clients' training."""
    from bench._federated import overhead

    return overhead(bench)


def figure_5(bench: Bench) -> Figure:
    """Gradients in few bits or the largest alone, between two processes."""
    from bench._gradients import compressed

    return compressed(bench)
