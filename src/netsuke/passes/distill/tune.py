"""Which temperature, and how much of the loss: found in short rehearsals."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.nets.training.plan import TrainPlan
from netsuke.nets.training.train import retrain
from netsuke.nets.training.way import Way

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0)
SHARES = (0.3, 0.6, 0.9, 1.0)
"""Of the soft loss: they are tried at the best temperature."""
FEWEST = 8
"""Batches of a rehearsal, at least."""


@dataclass(frozen=True)
class Trial:
    """What a student of so many parameters came to in a rehearsal, on validate."""

    temperature: float
    soft: float
    parameters: int
    quality: float


@dataclass(frozen=True)
class Tuning:
    """The plan with what was chosen for the first student, and every trial."""

    plan: TrainPlan
    trials: tuple[Trial, ...]

    def said(self, metric: str) -> str:
        """For a reader."""
        return (
            f"temperature {self.plan.temperature:g} and soft {self.plan.soft:g} are the best of "
            f"{len(self.trials)} rehearsals by {metric} on validate"
        )

    def table(self) -> dict[str, Any]:
        """For the report and for scripts."""
        return {"kind": "temperatures", "trials": [vars(trial) for trial in self.trials]}


def tuned(
    students: Sequence[GraphModule], teachers: Sequence[GraphModule], goal: Goal, plan: TrainPlan,
    share: float,
) -> Tuning:  # fmt: skip
    """Rehearse every temperature with each student, then every share of the soft loss with the first.

    share: of the whole training, that each rehearsal gets. A rehearsal is a training of its own, its rate
    falls to nothing: early scores of a long one would favour what is quick at a high rate.
    """
    assert goal.data.train is not None
    samples = int(share * plan.epochs * len(goal.data.train))
    short = replace(plan, epochs=1, limit=max(samples, FEWEST * plan.batch))
    rehearse = _Rehearsal(teachers, goal, short)
    trials = [rehearse(student, t, plan.soft) for student in students for t in TEMPERATURES]
    best = rehearse.best(trials[: len(TEMPERATURES)])
    others = [s for s in SHARES if s != plan.soft]
    shares = [rehearse(students[0], best.temperature, s) for s in others]
    best = rehearse.best([best, *shares])
    chosen = replace(plan, temperature=best.temperature, soft=best.soft)
    return Tuning(chosen, (*trials, *shares))


class _Rehearsal:
    def __init__(self, teachers: Sequence[GraphModule], goal: Goal, plan: TrainPlan) -> None:
        self._teachers, self._goal, self._plan = teachers, goal, plan

    def __call__(self, student: GraphModule, temperature: float, soft: float) -> Trial:
        plan = replace(self._plan, temperature=temperature, soft=soft)
        last = Way(counts=lambda progress: progress > 0)
        made = retrain(student, self._teachers, self._goal, plan, last)
        count = sum(p.numel() for p in student.parameters())
        return Trial(temperature, soft, count, made.scores[-1])

    def best(self, trials: Sequence[Trial]) -> Trial:
        higher = self._goal.data.metric.higher
        return (max if higher else min)(trials, key=lambda trial: trial.quality)
