"""Rules from what the model is used for."""

from netsuke.advisor.facts import Facts
from netsuke.advisor.rules.rule import rule


@rule("quantization", "for", "Jacob et al., 2018")
def realtime(facts: Facts) -> str | None:
    """Where a late answer is of no use, time comes first."""
    use = facts.application
    if use is None or not use.realtime:
        return None
    return f"{use.name} is real-time ({use.why}): the shortest call first"


@rule(
    "structured pruning",
    "for",
    "Horowitz, 2014; Yang et al., 2017, Designing energy-efficient networks using energy-aware pruning",
)
def battery_and_patience(facts: Facts) -> str | None:
    """Where an answer may wait and the battery decides, work that leaves is what counts."""
    use = facts.application
    if use is None or use.realtime or not use.battery:
        return None
    return (
        f"{use.name} can wait and runs from a battery ({use.why}): work that leaves takes no energy"
    )


RULES = (realtime, battery_and_patience)
