"""When weights leave: what every schedule is given, and what it gives back."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.graph import clone
from netsuke.nets.samples import Calibration
from netsuke.nets.sparse.allocate import Scope, masks
from netsuke.nets.sparse.layers import Layer, layers, value
from netsuke.nets.sparse.norms import restored
from netsuke.nets.sparse.pattern import Pattern
from netsuke.nets.sparse.rebuild import rebuild
from netsuke.nets.sparse.saliency import Saliency
from netsuke.nets.sparse.zeros import Zeros
from netsuke.nets.training.train import Trained, TrainPlan, retrain
from netsuke.nets.training.way import Way

Rewind = Literal["rate", "weights"]


@dataclass(frozen=True)
class Job:
    """Weights to prune. layers: those whose weights may leave. sparsity: the share of them that
    leaves. rebuilt: calibration samples the layers are fitted on where weights leave at once; 0 for
    none. steps, rewind: of iterative pruning.
    """

    model: Model
    goal: Goal
    layers: tuple[Layer, ...]
    saliency: Saliency
    sparsity: float
    plan: TrainPlan
    pattern: Pattern = field(default_factory=Pattern)
    scope: Scope = "global"
    rebuilt: int = 0
    steps: int = 4
    rewind: Rewind = "rate"

    @property
    def network(self) -> GraphModule:
        return self.model.network

    @property
    def trains(self) -> bool:
        return self.goal.data.train is not None and self.plan.epochs > 0

    def scores(self, network: GraphModule) -> dict[str, Tensor]:
        """What the criterion says of a network; what was zero before this step is worth nothing."""
        model = replace(self.model, network=network)
        found = self.saliency.score(model, self._on(network), self.goal)
        for name, scores in found.items():
            if not bool(torch.isfinite(scores).all()):
                raise NetsukeError(
                    f"{name}: its scores are NaN or infinite; mend the model or the samples"
                )
        return {name: scores.masked_fill(~self.alive(name), -1.0) for name, scores in found.items()}

    def _on(self, network: GraphModule) -> tuple[Layer, ...]:
        """The same layers in a copy."""
        found = {layer.weight: layer for layer in layers(network)}
        return tuple(found[layer.weight] for layer in self.layers)

    def alive(self, name: str) -> Tensor:
        """Where a weight was not zero when it came."""
        return value(self.network, name) != 0

    def masks(self, scores: Mapping[str, Tensor], share: float = 1.0) -> dict[str, Tensor]:
        """What stays when this share of what is to leave has left."""
        how = self.pattern.at(share), self.scope
        chosen = masks(self.layers, scores, self.sparsity * share, how)
        return {name: mask & self.alive(name) for name, mask in chosen.items()}

    def at_once(self, network: GraphModule, share: float = 1.0) -> tuple[GraphModule, str]:
        """(A copy pruned by its scores, rebuilt, its BatchNorm statistics moved along; what to say.)"""
        network, kept = clone(network), self.masks(self.scores(network), share)
        said = "not rebuilt"
        if self.rebuilt:
            samples = Calibration(self.model, self.goal, self.rebuilt)
            count = rebuild(network, self._on(network), kept, samples)
            said = f"{count} layers rebuilt on {samples.count} calibration samples, without labels"
        else:
            Zeros().prune(network, kept)
        return restored(network, self.network, self.goal.data.calibrate), said

    def trained(self, network: GraphModule, way: Way | None = None, plan: TrainPlan | None = None) -> Trained:  # fmt: skip
        """The network trained with the original as teacher, unless all is to be learned from labels."""
        teachers = (self.network,) if self.plan.soft else ()
        return retrain(network, teachers, self.goal, plan or self.plan, way)


@dataclass(frozen=True)
class Pruned:
    """notes: what a reader must know. rungs: (sparsity, score on validation) of each step, where the
    schedule judges steps."""

    network: GraphModule
    notes: tuple[str, ...] = ()
    rungs: tuple[tuple[float, float], ...] = ()


class Schedule(ABC):
    """When weights leave. A new one is one file in ``passes/prune/schedules``.

    trains: whether it needs training data and epochs. moves: whether zeros may come back to life
    while it trains, which a pattern of zeros does not allow.
    """

    name: ClassVar[str]
    trains: ClassVar[bool] = True
    moves: ClassVar[bool] = False

    @abstractmethod
    def prune(self, job: Job) -> Pruned:
        """A copy of the job's network with as many zeros as were asked for."""


def cubic(progress: float) -> float:
    """The share of what is to leave that has left, fast at first (Zhu and Gupta, 2017)."""
    return 1 - (1 - min(1.0, max(0.0, progress))) ** 3


def said(job: Job, made: Trained, plan: TrainPlan | None = None) -> tuple[str, ...]:
    """How the training went."""
    by = "with the original as teacher" if job.plan.soft else "on labels alone"
    metric = job.goal.data.metric.name
    line = (
        f"trained {(plan or job.plan).epochs} epochs {by}: {metric} on validate "
        f"{made.scores[0]:.4g} → {made.scores[made.best]:.4g}, epoch {made.best} kept"
    )
    return (line, *made.notes)


def table(network: GraphModule, layers: tuple[Layer, ...]) -> dict[str, Any]:
    """What is left in each layer."""
    left = {x.weight: int((value(network, x.weight) != 0).sum()) for x in layers}
    return {x.weight: {"layer": x.name, "weights": x.size, "left": left[x.weight]} for x in layers}
