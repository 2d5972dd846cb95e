"""Movement pruning: what moves away from zero stays (Sanh et al., 2020)."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.nets.sparse.schedule import Job, Pruned, Schedule, cubic, said
from netsuke.nets.sparse.zeros import Zeros
from netsuke.nets.training.way import Way

FIRST, END = 0.1, 0.6
"""The share of the training before any weight leaves, and by which all have left."""
UPDATES = 50


class Movement(Schedule):
    """Scores are learned with the weights: each step adds −gradient · weight, so that a weight is
    worth the more the further the loss drives it from zero. Masks follow the scores along the cubic curve;
    a weight that left keeps its last value beside the network and may come back, until masks stand
    still. The criterion is not asked."""

    name: ClassVar[str] = "movement"
    moves: ClassVar[bool] = True

    def prune(self, job: Job) -> Pruned:
        moving = _Moving(job)
        way = Way(
            moving.before, graded=moving.graded, counts=lambda p: p >= END, zeros=moving.zeros
        )
        made = job.trained(job.network, way)
        return Pruned(made.network, said(job, made))


class _Moving:
    def __init__(self, job: Job) -> None:
        self._job, self._done, self.zeros = job, 0, Zeros.of(job.network)
        parameters = {x.weight: job.network.get_parameter(x.weight) for x in job.layers}
        self._held = {name: p.detach().clone() for name, p in parameters.items()}
        self._scores = {name: torch.zeros_like(p) for name, p in self._held.items()}

    def before(self, network: GraphModule, progress: float) -> None:
        due = min(UPDATES, int(UPDATES * (progress - FIRST) / (END - FIRST)))
        if due > self._done:
            self._done = due
            self._keep(network)
            scores = {
                n: s.masked_fill(~self._job.alive(n), -torch.inf) for n, s in self._scores.items()
            }
            masks = self._job.masks(scores, cubic(due / UPDATES))
            with torch.no_grad():
                for name, values in self._held.items():
                    network.get_parameter(name).copy_(values)
            self.zeros.prune(network, masks)

    def graded(self, network: GraphModule, progress: float) -> None:
        if progress > END:
            return
        for name, scores in self._scores.items():
            weight = network.get_parameter(name)
            if weight.grad is not None:
                scores -= weight.grad * self._full(name, weight)

    def _keep(self, network: GraphModule) -> None:
        """Take down the values of the weights that are there."""
        for name in self._held:
            self._held[name] = self._full(name, network.get_parameter(name)).clone()

    def _full(self, name: str, weight: Tensor) -> Tensor:
        mask = self.zeros.kept.get(name)
        values = weight.detach()
        return values if mask is None else torch.where(mask, values, self._held[name])
