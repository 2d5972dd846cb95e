"""All rules, in the order in which they are told."""

from netsuke.advisor.facts import Facts
from netsuke.advisor.rules import data, hardware, limits, scale, use
from netsuke.advisor.rules.rule import Finding, Rule

__all__ = ["RULES", "Finding", "Rule", "findings"]
RULES: tuple[Rule, ...] = (*limits.RULES, *hardware.RULES, *use.RULES, *data.RULES, *scale.RULES)


def findings(facts: Facts) -> tuple[Finding, ...]:
    """What every rule that fires has to say."""
    return tuple(found for rule in RULES if (found := rule(facts)) is not None)
