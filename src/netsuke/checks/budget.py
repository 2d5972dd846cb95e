"""Whether the limits are kept."""

from typing import ClassVar

from netsuke.core.budget import KINDS, Budget
from netsuke.core.check import Check
from netsuke.core.evidence import Evidence, find
from netsuke.core.quantity import Kind, show
from netsuke.core.statistics import Interval, samples_needed
from netsuke.core.verdict import Verdict

UNITS: dict[Kind, str] = {"bytes": "B", "seconds": "s", "joules": "J", "points": "pt"}
# What belongs to the artifact wherever it runs, so that it may be found out on this machine.
ANYWHERE = frozenset({"size", "drop", "robustness_drop"})
# Judged only with an interval: a share of samples without one says nothing about the next samples.
SAMPLED = frozenset({"drop", "robustness_drop"})


class Limits(Check):
    """One verdict for each limit of the budget.

    A limit holds where the whole interval of the evidence lies within it, is broken where all of it
    lies beyond, and is unknown in between, with what would settle it. Figures that depend on the
    machine count for the goal's device alone; a missing one is unknown.
    """

    name: ClassVar[str] = "budget"

    def judge(
        self, evidence: tuple[Evidence, ...], budget: Budget, device: str
    ) -> tuple[Verdict, ...]:
        return tuple(
            self._one(what, limit, evidence, device) for what, limit in budget.limits().items()
        )

    def _one(self, what: str, limit: float, evidence: tuple[Evidence, ...], device: str) -> Verdict:
        found = find(evidence, what, device)
        if found is None and what in ANYWHERE:
            found = find(evidence, what, "local")
        allowed = f"{_named(what)} ≤ {show(limit, UNITS[KINDS[what]]).lstrip('+')}"
        if found is None:
            return self._verdict("unknown", f"{allowed}: {_missing(what, evidence, device)}")
        if found.low is None or found.high is None:
            if what in SAMPLED:
                reason = f"{allowed}: {found}, on too few samples for an interval"
                return self._verdict("unknown", reason, found)
            outcome = "pass" if found.value <= limit else "fail"
            return self._verdict(outcome, f"{allowed}: {found}", found)
        if found.high <= limit:
            return self._verdict("pass", f"{allowed}: {found}", found)
        if found.low > limit:
            return self._verdict("fail", f"{allowed}: {found}", found)
        return self._verdict("unknown", f"{allowed}: {found}; {_settle(found, limit)}", found)

    def _verdict(self, outcome: str, reason: str, *evidence: Evidence) -> Verdict:
        return Verdict(outcome=outcome, check=self.name, reason=reason, evidence=evidence)  # type: ignore[arg-type]


def _named(what: str) -> str:
    return what.replace("_", " ")


def _missing(what: str, evidence: tuple[Evidence, ...], device: str) -> str:
    """Why there is no figure, where a probe left word."""
    words = [e.note for e in evidence if what.startswith("latency") and "refused" in e.note]
    return words[0] if words and device == "local" else f"nothing is known of it on {device}"


def _settle(found: Evidence, limit: float) -> str:
    """What would settle a limit that lies inside the interval."""
    if found.source == "estimated":
        return f"the estimate's range reaches across the limit: measure it on {found.device}"
    interval = Interval(found.value, found.low, found.high)
    more = samples_needed(interval, limit, found.samples)
    if more is None:
        return "it sits on the limit; no number of samples would settle it"
    return f"about {more:,} more samples would settle it"
