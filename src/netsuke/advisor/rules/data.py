"""Rules from the data, the schedule and what may be lost."""

from netsuke.advisor.facts import Facts
from netsuke.advisor.rules.rule import rule

TIGHT = 1.0
"""Hours: a retraining on two cores takes as long for a network of some million multiply-accumulates."""
LITTLE = 0.005
"""A drop that rounding after training may use up alone."""
OVERFITTED = 0.05


@rule("post-training", "for", "Nagel et al., 2021, A white paper on neural network quantization")
def no_training_data(facts: Facts) -> str | None:
    """Without training data nothing can be trained."""
    if facts.goal.data.train is not None:
        return None
    return "the task has no training data: only what works after training"


@rule("post-training", "for", "Nagel et al., 2021, A white paper on neural network quantization")
def tight_schedule(facts: Facts) -> str | None:
    """Calibration takes minutes, training hours."""
    if facts.hours is None or facts.hours >= TIGHT:
        return None
    return f"{60 * facts.hours:.0f} minutes are given: calibration takes minutes, training hours"


@rule(
    "quantization-aware training",
    "for",
    "Esser et al., 2020, Learned step size quantization; Hinton et al., 2015",
)
def little_tolerance_and_time(facts: Facts) -> str | None:
    """Training with simulated rounding, distilled, where hardly anything may be lost."""
    drop = facts.goal.budget.limits().get("drop")
    if drop is None or drop > LITTLE or facts.goal.data.train is None:
        return None
    if facts.hours is not None and facts.hours < TIGHT:
        return None
    return f"{100 * drop:g} points may be lost and there are training data: train with simulated rounding, the original as teacher"


@rule(
    "structured pruning",
    "for",
    "Han et al., 2017, DSD: dense-sparse-dense training; Bartoldson et al., 2020",
)
def overfitted(facts: Facts) -> str | None:
    """A network that knows its training samples by heart generalizes better with less."""
    if facts.gap is None or facts.gap < OVERFITTED:
        return None
    return f"it is {100 * facts.gap:.1f} points better on training samples than on others: pruning regularizes"


RULES = (no_training_data, tight_schedule, little_tolerance_and_time, overfitted)
