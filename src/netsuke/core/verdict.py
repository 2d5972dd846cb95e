"""Pass, fail or unknown, with the reason and the evidence it rests on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from netsuke.core.evidence import Evidence

Outcome = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a check says. Missing evidence is ``unknown``, never ``pass``."""

    outcome: Outcome
    check: str
    reason: str
    evidence: tuple[Evidence, ...] = ()

    def __str__(self) -> str:
        return f"{self.outcome}: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "check": self.check,
            "reason": self.reason,
            "evidence": [e.to_dict() for e in self.evidence],
        }


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict of many: fail if any fails, else unknown if any is unknown (or there is none)."""
    given = tuple(verdicts)
    if not given:
        return Verdict(outcome="unknown", check="all", reason="nothing was judged")
    for outcome in ("fail", "unknown"):
        worst = [v for v in given if v.outcome == outcome]
        if worst:
            break
    else:
        outcome, worst = "pass", list(given)
    reason = "; ".join(v.reason for v in worst)
    evidence = tuple(e for v in given for e in v.evidence)
    return Verdict(outcome=outcome, check="all", reason=reason, evidence=evidence)  # type: ignore[arg-type]
