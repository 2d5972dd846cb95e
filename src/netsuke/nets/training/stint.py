"""Some epochs on one machine's samples, of a training that goes on elsewhere: nothing is judged, the rate stands."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.task import Splits
from netsuke.nets.data import Inputs, batches
from netsuke.nets.distillation.imitation import Imitation, Manner
from netsuke.nets.distillation.losses import soft_loss
from netsuke.nets.graph import clone
from netsuke.nets.pace import Pace, pace
from netsuke.nets.seeded import seeded
from netsuke.nets.sparse.zeros import Zeros
from netsuke.nets.training.descent import optimizer
from netsuke.nets.training.lessons import Lessons
from netsuke.nets.training.plan import TrainPlan
from netsuke.nets.training.train import CLIP


@dataclass(frozen=True)
class Stint:
    """A trained copy. loss: the mean of the last epoch's steps. samples: of an epoch."""

    network: GraphModule
    loss: float
    samples: int


@dataclass(frozen=True, kw_only=True)
class StintPlan:
    """training: its epochs, at its rate. pull: how strongly weights are held where they began (μ of Li et al., 2020,
    "Federated optimization in heterogeneous networks"), 0 for not at all."""

    training: TrainPlan
    pull: float = 0.0
    seed: int = 0


def stint(
    network: GraphModule, teachers: Sequence[GraphModule], data: Splits, plan: StintPlan
) -> Stint:
    """A copy of the network, trained on ``data.train``.

    teachers: imitated as in ``retrain``. Weights that hold exact zeros keep them. Raises NetsukeError without training
    data, or where the loss leaves the numbers.
    """
    if data.train is None:
        raise NetsukeError("train: the task has no training data")
    with seeded(plan.seed):
        inputs = next(batches(data.train, 2))[0]
        tempo = pace(network, inputs, bfloat16=plan.training.precision == "auto")
        known = _imitation(network, teachers, data, plan.training, tempo, inputs)
        at_work = _Work(tempo.settle(clone(network)).train(), known, data, plan, tempo)
        losses: list[float] = []
        samples = 0
        for epoch in range(plan.training.epochs):
            with known.epoch() if known else nullcontext():
                losses, samples = at_work.epoch(epoch)
        return Stint(at_work.network, math.fsum(losses) / max(1, len(losses)), samples)


class _Work:
    """One stint in progress."""

    def __init__(
        self, network: GraphModule, known: Imitation | None, data: Splits, plan: StintPlan, tempo: Pace
    ) -> None:  # fmt: skip
        self.network = network
        self._known, self._data, self._plan, self._pace = known, data, plan, tempo
        self._lessons = Lessons(data, plan.training, tempo, known)
        beside = known.parameters() if known else ()
        self._optimizer = optimizer(network, plan.training, beside)
        self._moving = (*network.parameters(), *beside)
        self._zeros = Zeros.of(network)
        self._start = [p.detach().clone() for p in network.parameters()]

    def epoch(self, number: int) -> tuple[list[float], int]:
        """(The loss of each step, the samples.)"""
        assert self._data.train is not None
        losses, samples = [], 0
        order = batches(self._data.train, self._plan.training.batch, self._plan.seed + number)
        for inputs, target in order:
            if len(inputs[0]) > 1:  # BatchNorm cannot learn from one sample
                losses.append(self._step(inputs, target))
                samples += len(inputs[0])
        return losses, samples

    def _step(self, inputs: Inputs, target: Tensor | None) -> float:
        if self._data.augment is not None:
            given = self._data.augment(*inputs)
            inputs = given if isinstance(given, tuple) else (given,)
        inputs = self._pace.lay(inputs)
        self._optimizer.zero_grad(set_to_none=True)
        heard = () if self._known is None else self._known.hear(inputs)
        _, loss = self._lessons.first(self.network, inputs, (heard, target))
        if not math.isfinite(loss.item()):
            raise NetsukeError(
                f"train: the loss became NaN or infinite; take a rate below lr = {self._plan.training.lr:g}"
            )
        loss.backward()
        self._pull()
        self._zeros.silence(self.network)
        torch.nn.utils.clip_grad_norm_(self._moving, CLIP)
        self._optimizer.step()
        self._zeros.hold(self.network)
        return loss.item()

    def _pull(self) -> None:
        if not self._plan.pull:
            return
        for now, start in zip(self.network.parameters(), self._start, strict=True):
            if now.grad is not None:
                now.grad.add_(now.detach() - start, alpha=self._plan.pull)


def _imitation(
    network: GraphModule, teachers: Sequence[GraphModule], data: Splits, plan: TrainPlan, tempo: Pace, inputs: Inputs
) -> Imitation | None:  # fmt: skip
    if not teachers:
        return None
    soft = soft_loss(data, plan.temperature, plan.answers)
    return Imitation(network, teachers, Manner(plan.method, soft, tempo, plan.pairs), inputs)
