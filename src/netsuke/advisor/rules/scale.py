"""Rules for what no compression of this network on one device reaches."""

from netsuke.advisor.facts import WORDS, Facts
from netsuke.advisor.rules.rule import rule

PRUNED = 0.25
"""What is left at most of a network's weights or time before another network does better."""


def _left(facts: Facts, what: str) -> float:
    """The limit's share that is needed at 8 bits after three quarters left; over 1 is out of reach."""
    return PRUNED * facts.integers.get(what, 0.0) / facts.limits[what]


@rule(
    "sharding",
    "for",
    "Kang et al., 2017, Neurosurgeon: collaborative intelligence between the cloud and mobile edge",
)
def too_big_for_one(facts: Facts) -> str | None:
    """Where neither bits nor channels make it fit the machine itself, it is split over several."""
    device = {"size": facts.device.storage, "memory": facts.device.memory}
    for what, has in device.items():
        least = PRUNED * facts.integers[what]
        if least > has:
            return f"{what} of {facts.device.name} is {least / has:.1f}× too small even at 8 bits with three quarters pruned: split it over devices"
    return None


@rule(
    "search",
    "for",
    "Cai et al., 2020, Once-for-all; Liu et al., 2019, Rethinking the value of network pruning",
)
def no_carving_meets_it(facts: Facts) -> str | None:
    """Where three quarters would have to leave and more, another architecture does better."""
    over = {what: _left(facts, what) for what in facts.needs if _left(facts, what) > 1}
    if not over:
        return None
    worst = max(over, key=lambda what: over[what])
    return f"{WORDS[worst]} stays {over[worst]:.1f}× over its limit at 8 bits with three quarters pruned: search for another architecture"


RULES = (too_big_for_one, no_carving_meets_it)
