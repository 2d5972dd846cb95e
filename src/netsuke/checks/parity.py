"""Whether what runs is what was simulated."""

from math import exp, lgamma, log
from typing import ClassVar

from netsuke.core.budget import Budget
from netsuke.core.check import Check
from netsuke.core.evidence import Evidence, find
from netsuke.core.quantity import show
from netsuke.core.verdict import Verdict

AGREEMENT = 0.999
CHANCE = 0.05


class Parity(Check):
    """Passes unless so many predictions differ that a model with 99.9 % agreement would show them
    with a chance below 5 % only (none may differ of 51 samples, one of 52, three of 1,000).

    Judges the simulation against the runtime on this machine, whatever the device.
    """

    name: ClassVar[str] = "parity"

    def judge(
        self, evidence: tuple[Evidence, ...], budget: Budget, device: str
    ) -> tuple[Verdict, ...]:
        found = find(evidence, "agreement", device) or find(evidence, "agreement", "local")
        if found is None:
            reason = "parity: the runtime was not compared with a simulation"
            return (Verdict(outcome="unknown", check=self.name, reason=reason),)
        differ = round((1 - found.value) * found.samples)
        allowed = may_differ(found.samples)
        reason = (
            f"parity: {differ:,} of {found.samples:,} predictions differ between simulation and "
            f"runtime ({show(found.value, '%')} agree, {allowed:,} may differ)"
        )
        outcome = "pass" if differ <= allowed else "fail"
        return (Verdict(outcome=outcome, check=self.name, reason=reason, evidence=(found,)),)  # type: ignore[arg-type]


def may_differ(samples: int) -> int:
    """The most differences that a model with 99.9 % agreement shows with a chance of 5 % or more:
    the upper tail of the binomial distribution."""
    count, tail = 0, 1.0
    while (left := tail - _chance(count, samples)) >= CHANCE:
        count, tail = count + 1, left
    return count


def _chance(count: int, samples: int) -> float:
    """Of exactly so many differences, by logarithms: 0.999 ** 1,000,000 is no number."""
    ways = lgamma(samples + 1) - lgamma(count + 1) - lgamma(samples - count + 1)
    return exp(ways + count * log(1 - AGREEMENT) + (samples - count) * log(AGREEMENT))
