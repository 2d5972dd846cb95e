"""RigL: zeros move while it trains (Evci et al., 2020)."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.nets.sparse.schedule import Job, Pruned, Schedule, said
from netsuke.nets.sparse.zeros import Zeros
from netsuke.nets.training.way import Way

END = 0.75
"""The share of the training in which zeros move."""
MOVES = 50
"""How often they do."""
DROPPED = 0.3
"""The share of a layer's weights that are dropped at first, falling to none along a cosine."""


class Rigl(Schedule):
    """Sparse from the start: again and again the smallest weights of each layer leave, and as many
    come to life where the loss's gradient is largest, from zero. What was zero before stays so."""

    name: ClassVar[str] = "rigl"
    moves: ClassVar[bool] = True

    def prune(self, job: Job) -> Pruned:
        network, _ = job.at_once(job.network)
        moving = _Moving(job, Zeros.of(network))
        made = job.trained(
            network, Way(graded=moving.graded, counts=lambda p: p >= END, zeros=moving.zeros)
        )
        notes = (*said(job, made), f"zeros moved {moving.done} times")
        return Pruned(made.network, notes)


class _Moving:
    def __init__(self, job: Job, zeros: Zeros) -> None:
        self.zeros, self.done = zeros, 0
        self._alive = {layer.weight: job.alive(layer.weight) for layer in job.layers}

    def graded(self, network: GraphModule, progress: float) -> None:
        due = int(MOVES * progress / END)
        if due <= self.done or progress > END:
            return
        self.done = due
        share = DROPPED / 2 * (1 + math.cos(math.pi * progress / END))
        moved = {}
        for name, mask in self.zeros.kept.items():
            weight = network.get_parameter(name)
            if name in self._alive and weight.grad is not None:
                moved[name] = _moved(weight, mask, self._alive[name], share)
        self.zeros.prune(network, moved)


def _moved(weight: Tensor, mask: Tensor, alive: Tensor, share: float) -> Tensor:
    """The mask with its smallest weights out and as many of the steepest zeros in."""
    assert weight.grad is not None
    size = weight.detach().abs().masked_fill(~mask, torch.inf).flatten()
    steep = weight.grad.abs().masked_fill(mask | ~alive, -1.0).flatten()
    count = min(int(share * int(mask.sum())), int((steep >= 0).sum()))
    made = mask.flatten().clone()
    made[size.topk(count, largest=False).indices] = False
    made[steep.topk(count).indices] = True
    return made.view(mask.shape)
