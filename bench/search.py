"""Distillation, architecture search and the study that joins all techniques.

Accuracies are on all test samples, differences with the 95 % interval over the same samples and over seeds.
"""

from bench._harness import Bench, Figure


def figure_1(bench: Bench) -> Figure:
    """ResNet-20 from scratch, with and without ResNet-56 as its teacher."""
    from bench._taught import taught

    return taught(bench)


def figure_2(bench: Bench) -> Figure:
    """Subnets of one supernet against networks of the same time that were trained alone."""
    from bench._once import once

    return once(bench)


def figure_3(bench: Bench) -> Figure:
    """The time of subnets, predicted by the device's table of kernels and measured."""
    from bench._latency_table import subnets

    return subnets(bench)


def figure_4(bench: Bench) -> Figure:
    """A study of post-training trials on ResNet-20, against random search in the same time."""
    from bench._studied import searched

    return searched(bench)


def figure_5(bench: Bench) -> Figure:
    """Spoken digits, judged by speakers never heard: a searched network under 50 kB and the largest of its space."""
    from bench._spotting import spotting

    return spotting(bench)


def figure_6(bench: Bench) -> Figure:
    """What a study costs beside its trials; what a second node is worth; a node killed in mid-study."""
    from bench._overhead import overhead

    return overhead(bench)
