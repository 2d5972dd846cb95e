"""Training on several machines: what they tell each other.

Accuracies are on all test samples, over the seeds given; bytes are counted on the wire.
"""

from bench._harness import Bench, Figure


def figure_5(bench: Bench) -> Figure:
    """Gradients in few bits or the largest alone, between two processes."""
    from bench._gradients import compressed

    return compressed(bench)
