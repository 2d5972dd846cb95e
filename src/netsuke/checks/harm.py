"""Whether a step did harm: what the gate asks after each one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from netsuke.core.budget import Budget
from netsuke.core.check import Check
from netsuke.core.evidence import Evidence, find
from netsuke.core.quantity import show
from netsuke.core.verdict import Verdict

DEFAULT_DROP = 0.01
# A step this much slower is undone even where its interval reaches across 1.
SLOWER = 0.97


class Finding(NamedTuple):
    """One answer: None for harm means that the evidence is missing."""

    harm: bool | None
    text: str


@dataclass(frozen=True)
class Harm(Check):
    """One verdict on a step: "drop" (against the original), "step_speedup" and "step_size" (what it
    replaced / itself).

    elsewhere: what the step gains that one device shows nothing of (``Pass.elsewhere``): then only quality is asked for.

    Fails where more quality is lost than the budget allows (1 pt where it sets none), where the step
    is slower than what it replaced and speed is wanted (latency limited, or nothing limited), and
    where it is bigger without being faster. Says nothing where the evidence is on no step.
    """

    name: ClassVar[str] = "harm"
    elsewhere: str = ""

    def judge(
        self, evidence: tuple[Evidence, ...], budget: Budget, device: str
    ) -> tuple[Verdict, ...]:
        speed = find(evidence, "step_speedup", device)
        size = find(evidence, "step_size", "local")
        if speed is None and size is None:
            return ()
        drop = find(evidence, "drop", "local")
        gained = (
            [Finding(False, f"gains elsewhere: {self.elsewhere}")]
            if self.elsewhere
            else [*_slower(speed, budget, device), *_bigger(size, speed)]
        )
        findings = [_lost(drop, budget), *gained]
        outcome = "pass"
        if any(f.harm for f in findings):
            outcome, findings = "fail", [f for f in findings if f.harm]
        elif any(f.harm is None for f in findings):
            outcome, findings = "unknown", [f for f in findings if f.harm is None]
        return (
            Verdict(
                outcome=outcome,  # type: ignore[arg-type]
                check=self.name,
                reason="; ".join(f.text for f in findings),
                evidence=tuple(e for e in (drop, speed, size) if e is not None),
            ),
        )


def costs_quality(evidence: tuple[Evidence, ...], budget: Budget) -> bool:
    """True where a step loses more quality than is allowed: what a remedy may win back, while none
    makes a step faster."""
    return _lost(find(evidence, "drop", "local"), budget).harm is True


def _lost(drop: Evidence | None, budget: Budget) -> Finding:
    """Quality, by its estimate: a step is judged on validate, and the last word is the test's."""
    limits = budget.limits()
    limit = limits.get("drop", DEFAULT_DROP)
    allowed = f"{show(limit, 'pt').lstrip('+')} allowed"
    if "drop" not in limits:
        allowed += " where no limit is set"
    if drop is None:
        return Finding(None, "nothing is known of the quality it lost")
    change = "won" if drop.value < 0 else "lost"
    lost = f"{show(abs(drop.value), 'pt').lstrip('+')} of quality {change} against the original"
    return Finding(drop.value > limit, f"{lost}, {allowed}")


def _slower(speed: Evidence | None, budget: Budget, device: str) -> Iterator[Finding]:
    limits = budget.limits()
    if limits and "latency_p95" not in limits:
        if speed is not None:
            yield Finding(False, f"{speed} as fast as what it replaced")
        return
    if speed is None:
        yield Finding(None, f"nothing is known of its speed on {device}")
        return
    surely = speed.high is not None and speed.high < 1
    yield Finding(surely or speed.value < SLOWER, f"{speed} as fast as what it replaced")


def _bigger(size: Evidence | None, speed: Evidence | None) -> Iterator[Finding]:
    if size is None:
        yield Finding(None, "nothing is known of its size")
    elif size.value >= 1:
        yield Finding(False, f"{show(size.value, 'x')} smaller")
    elif speed is None:
        yield Finding(
            None, f"{show(1 / size.value, 'x')} as big, and nothing is known of its speed"
        )
    else:
        sure = speed.low if speed.low is not None else speed.value
        yield Finding(
            sure <= 1, f"{show(1 / size.value, 'x')} as big as what it replaced, {speed} as fast"
        )
