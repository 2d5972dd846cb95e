"""The training loop all passes share: retraining with the original as teacher."""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.data import Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.metric import Metric
from netsuke.nets.data import Inputs, batches
from netsuke.nets.distillation.imitation import Imitation, Manner
from netsuke.nets.distillation.losses import soft_loss
from netsuke.nets.evaluation import evaluate, recalibrate
from netsuke.nets.graph import clone
from netsuke.nets.pace import Pace, laid_out, pace
from netsuke.nets.seeded import seeded
from netsuke.nets.sparse.zeros import Zeros
from netsuke.nets.together import agreed, alike, averaged, everywhere, level, own_chance
from netsuke.nets.training.descent import optimizer, share
from netsuke.nets.training.lessons import Lessons, constant
from netsuke.nets.training.plan import TrainPlan
from netsuke.nets.training.way import View, Way

__all__ = ["TrainPlan", "Trained", "View", "Way", "evaluate", "recalibrate", "retrain", "train"]

CLIP = 5.0
"""Largest norm of a step's gradient."""


@dataclass(frozen=True)
class Trained:
    """A network after training. scores: its metric on validation before training and after each
    epoch. best: the epoch whose weights it has; 0 is before training. notes: what a reader must know.
    """

    network: GraphModule
    scores: tuple[float, ...]
    best: int
    notes: tuple[str, ...] = ()

    def told(self, metric: Metric) -> str:
        """What the training won, in words for a report."""
        before, after = self.scores[0], self.scores[self.best]
        return f"{metric.name} on validate {before:.4g} → {after:.4g}, best after epoch {self.best}"


def train(
    network: GraphModule, teachers: Sequence[GraphModule], goal: Goal, plan: TrainPlan
) -> GraphModule:
    """``retrain`` for who needs no more than the network."""
    return retrain(network, teachers, goal, plan).network


def retrain(
    network: GraphModule,
    teachers: Sequence[GraphModule],
    goal: Goal,
    plan: TrainPlan,
    way: Way | None = None,
) -> Trained:
    """A trained copy of ``network``; the best epoch on ``goal.data.validate`` is kept.

    teachers: their outputs are matched with weight ``plan.soft`` (Hinton et al., 2015), and what
    ``plan.method`` compares besides; without any, it trains on targets alone. Weights that hold exact zeros keep them. Deterministic for ``goal.seed``. A loss
    that is NaN or infinite ends training, and the best epoch so far is kept. Raises NetsukeError
    without training data, or where training ended before any epoch counted.
    """
    if goal.data.train is None:
        raise NetsukeError("train: the task has no training data")
    with seeded(goal.seed):
        inputs = next(batches(goal.data.train, 2))[0]
        tempo = pace(network, inputs, bfloat16=plan.precision == "auto")
        known = None
        if teachers:
            soft = soft_loss(goal.data, plan.temperature, plan.answers)
            known = Imitation(
                network, teachers, Manner(plan.method, soft, tempo, plan.pairs), inputs
            )
        run = _Run(clone(network), known, goal, plan, tempo, way or Way())
        if goal.team.size > 1:
            run.notes.append(f"{goal.team.size} processes trained it together")
        for epoch in range(plan.epochs):
            with known.epoch() if known else nullcontext():
                if not run.epoch(epoch):
                    break
        return run.result()


@dataclass
class _Run:
    """One training in progress."""

    network: GraphModule
    imitated: Imitation | None
    goal: Goal
    plan: TrainPlan
    pace: Pace
    way: Way
    scores: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    best: int = 0
    _state: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.network = self.pace.settle(self.network).train()
        self.lessons = Lessons(self.goal.data, self.plan, self.pace, self.imitated)
        beside = self.imitated.parameters() if self.imitated else ()
        self.optimizer = optimizer(self.network, self.plan, beside)
        self._moving = (*self.network.parameters(), *beside)
        self.zeros = Zeros.of(self.network) if self.way.zeros is None else self.way.zeros
        alike(self.goal.team, self.network)
        self._samples = _samples(self.goal.data.train, self.plan)
        self._seen = self._steps = 0
        self._keep_if_best(is_last=self.plan.epochs == 0)

    def epoch(self, number: int) -> bool:
        """Train for one epoch and judge it; False where the loss left the numbers."""
        label = f"training, epoch {number + 1} of {self.plan.epochs}"
        for inputs, target in self.goal.track(self._batches(number), label):
            if not self._step(inputs, target):
                self.notes.append(
                    f"training stopped in epoch {number + 1}: the loss became NaN or infinite; "
                    f"epoch {self.best} is kept, and a rate below lr = {self.plan.lr:g} may help"
                )
                return False
        self._keep_if_best(number + 1 == self.plan.epochs)
        return True

    def result(self) -> Trained:
        if self._state is None:
            raise NetsukeError(
                "train: the loss became NaN or infinite before the network was what was asked for; "
                f"take a rate below lr = {self.plan.lr:g}"
            )
        self.network.load_state_dict(self._state)
        network = laid_out(self.network, torch.contiguous_format)
        return Trained(network, tuple(self.scores), self.best, tuple(self.notes))

    def _batches(self, number: int) -> Iterator[tuple[Inputs, Tensor | None]]:
        seen, stream = 0, self.goal.data.train
        assert stream is not None
        for inputs, target in batches(stream, self.plan.batch, self.goal.seed + number):
            # BatchNorm cannot learn from one sample
            if len(inputs[0]) > 1:
                yield inputs, target
            seen += len(inputs[0])
            if self.plan.limit is not None and seen >= self.plan.limit:
                return

    def _step(self, inputs: Inputs, target: Tensor | None) -> bool:
        augment = self.goal.data.augment
        self._seen += len(inputs[0])
        if augment is not None:
            given = augment(*inputs)
            inputs = given if isinstance(given, tuple) else (given,)
        progress = self._progress()
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.lr * share(progress)
        self.way.before(self.network, progress)
        self.optimizer.zero_grad(set_to_none=True)
        if not self._graded(inputs, target):
            return False
        self.way.graded(self.network, progress)
        self.zeros.silence(self.network)
        torch.nn.utils.clip_grad_norm_(self._moving, CLIP)
        self.optimizer.step()
        self.zeros.hold(self.network)
        self._steps += 1
        return True

    def _graded(self, inputs: Inputs, target: Tensor | None) -> bool:
        """Gradients by the whole batch, of which each process of a team has its part; False where a loss is not
        finite."""
        team, count = self.goal.team, len(inputs[0])
        part = team.part(count)
        mine = self.pace.lay(tuple(t[part] for t in inputs))
        with own_chance(team, self.goal.seed + self._steps):
            finite = self._backward(mine, None if target is None else target[part])
        if not everywhere(team, finite):
            return False
        averaged(team, self._moving, team.share(count))
        return True

    def _backward(self, inputs: Inputs, target: Tensor | None) -> bool:
        """Add up the gradients of this step's views; False where a loss is not finite."""
        heard = () if self.imitated is None else self.imitated.hear(inputs)
        views, first = self.way.each(self._steps), None
        for view in views:
            view(self.network)
            if first is None:
                given, loss = self.lessons.first(self.network, inputs, (heard, target))
            else:
                given, loss = self.lessons.after(self.network, inputs, (first, target))
            loss = loss / len(views)
            if not math.isfinite(loss.item()):
                return False
            loss.backward()
            if self.way.inplace and first is None:
                first = constant(given)
        return True

    def _progress(self) -> float:
        return self._seen / max(1, self._samples * self.plan.epochs)

    def _keep_if_best(self, is_last: bool) -> None:
        """What is as good after less training is kept."""
        level(self.goal.team, self.network)
        score = agreed(self.goal.team, self._score)
        self.scores.append(score)
        if not (is_last or self.way.counts(self._progress())):
            return
        sign = 1 if self.goal.data.metric.higher else -1
        if self._state is None or sign * score > sign * self.scores[self.best]:
            self.best = len(self.scores) - 1
            self._state = copy.deepcopy(self.network.state_dict())

    def _score(self) -> float:
        """The metric on validation, of the worst view: a mean would not see one fail among many."""
        data, scores = self.goal.data, []
        for view in reversed(self.way.views):
            view(self.network)
            scores.append(evaluate(self.network, data.validate, data.metric))
        return min(scores) if data.metric.higher else max(scores)


def _samples(stream: Stream | None, plan: TrainPlan) -> int:
    assert stream is not None
    return len(stream) if plan.limit is None else min(plan.limit, len(stream))
