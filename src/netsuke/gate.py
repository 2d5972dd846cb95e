"""The do-no-harm gate: a step is kept only when its exported artifact, measured, allows it.

Each pass of a recipe is applied, exported, measured and judged before the next one starts. A step
that harms is undone, and the pass's remedies are tried, cheapest first. Every trial is recorded.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from netsuke.checks.harm import Harm, costs_quality
from netsuke.clock import LiveClock, LiveKernels
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence, find
from netsuke.core.passes import Pass
from netsuke.core.roofline import model_seconds
from netsuke.core.verdict import Verdict, combine
from netsuke.workbench import STEP_PROBES, State, Workbench


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One pass tried: ``outcome`` is kept, undone or refused.

    state: where it led, None where refused. remedy: tried because what came before was undone.
    clock, kernels: the readings the pass took of the goal's clock, and of single kernels by name.
    """

    tried: Pass
    outcome: str
    reason: str
    seconds: float
    state: State | None = None
    remedy: bool = False
    clock: tuple[float, ...] = ()
    kernels: Mapping[str, float | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The step's entry in the run's record."""
        made = self.state.model.lineage[-1] if self.state else None
        layers = self.state.artifact.layers if self.state else None
        return {
            "name": self.tried.name,
            "settings": self.tried.settings(),
            "outcome": self.outcome,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "summary": made.summary if made else "",
            "notes": list(made.notes) if made else [],
            "table": dict(made.table) if made else {},
            "findings": list(self.state.artifact.findings) if self.state else [],
            "evidence": [e.to_dict() for e in self.state.evidence] if self.state else [],
            "layers": None if layers is None else [layer.to_dict() for layer in layers],
            "remedy": self.remedy,
            "clock": list(self.clock),
            "kernels": dict(self.kernels),
        }


class Gate:
    """Knows the original, and lets a pass through only when it does no harm."""

    def __init__(self, bench: Workbench, original: State) -> None:
        self._bench, self._original = bench, original
        # A table of kernels is the device's own where the device can be reached.
        self._kernels = (
            LiveKernels(bench.link, bench.goal.team) if bench.goal.device.measured else None
        )

    def step(self, state: State, wanted: Pass) -> Iterator[Trial]:
        """Try the pass, then while quality is what it lost too much of, its remedies until one is
        not undone; yields each trial as it ends."""
        for number, candidate in enumerate((wanted, *wanted.remedies())):
            trial = replace(self._try(state, candidate), remedy=number > 0)
            self._bench.observer.step(trial.to_dict())
            yield trial
            if trial.outcome != "undone" or not self._can_be_mended(trial):
                return

    def _can_be_mended(self, trial: Trial) -> bool:
        evidence = trial.state.evidence if trial.state else ()
        return costs_quality(evidence, self._bench.goal.budget)

    def _try(self, state: State, candidate: Pass) -> Trial:
        start = time.monotonic()
        clock = LiveClock(self._bench, self._original)
        goal = replace(self._bench.goal, clock=clock, kernels=self._kernels)
        refusal = candidate.refuse(state.model, goal)
        if refusal is not None:
            seconds = time.monotonic() - start
            return Trial(tried=candidate, outcome="refused", reason=refusal, seconds=seconds)
        after = self._bench.state(self._bench.shared.apply(candidate, state.model, goal))
        try:
            after = replace(after, evidence=self._evidence(after, state))
            verdict = self._judge(after, candidate)
        except NetsukeError as error:
            # The original was measured with the same data: what cannot be measured is the step's.
            verdict = Verdict(outcome="fail", check="harm", reason=str(error))
        return Trial(
            tried=candidate,
            outcome="undone" if verdict.outcome == "fail" else "kept",
            reason=verdict.reason,
            seconds=time.monotonic() - start,
            state=after,
            clock=tuple(clock.readings),
            kernels=dict(self._kernels.readings) if self._kernels else {},
        )

    def _evidence(self, after: State, before: State) -> tuple[Evidence, ...]:
        validate = self._bench.goal.data.validate
        found = self._bench.measure(after, self._original, validate, STEP_PROBES)
        sizes = (find(before.evidence, "size"), find(found, "size"))
        if sizes[0] and sizes[1]:
            ratio = sizes[0].value / sizes[1].value
            found += (replace(sizes[1], what="step_size", value=ratio, unit="x"),)
        return found + self._step_speedup(after, before, found)

    def _step_speedup(
        self, after: State, before: State, found: tuple[Evidence, ...]
    ) -> tuple[Evidence, ...]:
        """How much faster than what it replaces, on the goal's device and nowhere else."""
        device = self._bench.goal.device
        if device.measured:
            if before.artifact.sha256 != self._original.artifact.sha256:
                found = self._bench.measure(after, before, None, ("latency",))
            return tuple(replace(e, what="step_speedup") for e in found if e.what == "speedup")
        old, new = (model_seconds(s.artifact.layers, device) for s in (before, after))
        return (
            Evidence(what="step_speedup", value=old / new, unit="x", source="estimated", device=device.name),
        )  # fmt: skip

    def _judge(self, after: State, candidate: Pass) -> Verdict:
        goal, harm = self._bench.goal, Harm(candidate.elsewhere)
        return combine(harm.judge(after.evidence, goal.budget, goal.device.name))
