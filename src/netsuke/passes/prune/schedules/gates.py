"""Learned gates: L0 regularization by hard concrete variables (Louizos et al., 2018)."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.nets.sparse.schedule import Job, Pruned, Schedule, cubic, said
from netsuke.nets.sparse.zeros import Zeros
from netsuke.nets.training.way import Way

BETA, LOW, HIGH = 2 / 3, -0.1, 1.1
SHIFT = BETA * math.log(-LOW / HIGH)
"""A gate of these odds is open with a probability of a half."""
OPEN = 2.0
"""Where a gate starts: it is open with a probability of 0.97."""
TRAVEL, PRESSURE = 30.0, 100.0
"""How far odds may go in all, and how fast the price of an open gate rises with the share that is open in
excess, in units of the mean slope that the loss has: neither depends on how long is trained."""
END = 0.6
"""The share of the training in which gates are learned; then they stand open or shut."""


class Gates(Schedule):
    """Each weight is multiplied by a random gate that is often exactly 0 or 1, and the gates' odds are
    learned. The price of an open gate rises while more are open than the cubic curve allows, as in constrained
    training (Gallego-Posada et al., 2022), so that the sparsity asked for is met. At the end the gates
    with the best odds stay. The criterion is not asked."""

    name: ClassVar[str] = "gates"
    moves: ClassVar[bool] = True

    def prune(self, job: Job) -> Pruned:
        gates = _Gates(job)
        way = Way(gates.before, graded=gates.graded, counts=lambda p: p >= END, zeros=gates.zeros)
        made = job.trained(job.network, way)
        return Pruned(made.network, said(job, made))


class _Gates:
    def __init__(self, job: Job) -> None:
        self._job, self.zeros, self._price = job, Zeros.of(job.network), 0.0
        shapes = {x.weight: job.network.get_parameter(x.weight) for x in job.layers}
        self._odds = {n: torch.full_like(p, OPEN).requires_grad_() for n, p in shapes.items()}
        self._optimizer = torch.optim.Adam(self._odds.values())
        self._drawn: dict[str, tuple[Tensor, Tensor]] = {}
        self._draw = torch.Generator().manual_seed(job.goal.seed)
        self._open, self._progress = True, 0.0

    def before(self, network: GraphModule, progress: float) -> None:
        """Put gated weights in the network's; once, shut the gates for good."""
        if not self._open:
            return
        if progress >= END:
            self._shut(network)
            return
        with torch.no_grad():
            for name, odds in self._odds.items():
                weight = network.get_parameter(name)
                gate = self._gate(odds)
                self._drawn[name] = (weight.detach().clone(), gate)
                weight.mul_(gate)

    def graded(self, network: GraphModule, progress: float) -> None:
        """Hand the gradients on to gates and weights, and take the gates out again."""
        if not self._open:
            return
        with torch.no_grad():
            slopes = {name: self._slope(name, network) for name in self._odds}
            size = torch.cat([s.flatten() for s in slopes.values()]).square().mean().sqrt()
            for name, odds in self._odds.items():
                likely = torch.sigmoid(odds - SHIFT)
                odds.grad = slopes[name] / size.clamp(min=1e-30) + self._price * likely * (
                    1 - likely
                )
        for group in self._optimizer.param_groups:
            group["lr"] = TRAVEL * (progress - self._progress)
        self._optimizer.step()
        self._weigh(progress)

    def _slope(self, name: str, network: GraphModule) -> Tensor:
        """The loss's slope along each gate's odds; the weight and its gradient are put back as they
        are without the gate."""
        weight, (values, gate) = network.get_parameter(name), self._drawn[name]
        assert weight.grad is not None
        inner = (gate - LOW) / (HIGH - LOW)
        steep = ((gate > 0) & (gate < 1)) * (HIGH - LOW) * inner * (1 - inner) / BETA
        slope = weight.grad * values * steep
        weight.copy_(values)
        weight.grad.mul_(gate)
        return slope

    def _weigh(self, progress: float) -> None:
        """Raise or lower the price of an open gate."""
        open_ = sum(float(torch.sigmoid(o.detach() - SHIFT).sum()) for o in self._odds.values())
        share = open_ / sum(o.numel() for o in self._odds.values())
        wanted = 1 - self._job.sparsity * cubic(progress / END)
        rise = PRESSURE * (progress - self._progress) * (share - wanted)
        self._price, self._progress = max(0.0, self._price + rise), progress

    def _shut(self, network: GraphModule) -> None:
        self._open = False
        scores = {
            n: odds.detach().masked_fill(~self._job.alive(n), -torch.inf)
            for n, odds in self._odds.items()
        }
        kept = self._job.masks(scores)
        with torch.no_grad():
            for name, odds in self._odds.items():
                mean = torch.sigmoid(odds.detach()) * (HIGH - LOW) + LOW
                network.get_parameter(name).mul_(mean.clamp(0, 1))
        self.zeros.prune(network, kept)

    def _gate(self, odds: Tensor) -> Tensor:
        noise = torch.rand(odds.shape, generator=self._draw).clamp(1e-6, 1 - 1e-6)
        soft = torch.sigmoid((torch.logit(noise) + odds.detach()) / BETA)
        return (soft * (HIGH - LOW) + LOW).clamp(0, 1)
