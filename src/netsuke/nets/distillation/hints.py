"""Values of the layers themselves (Romero et al., 2015, "FitNets: hints for thin deep nets")."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from netsuke.nets.data import Inputs
from netsuke.nets.distillation.method import Method, Pair, by_size
from netsuke.nets.distillation.values import resized

RIDGE = 1e-4
"""Of the mean square of a channel: keeps channels that say nothing, or the same, from a solution of any size."""


@dataclass(frozen=True, kw_only=True)
class Hints(Method):
    """A regressor, trained along and then thrown away, is to find the teacher's channels in the student's.

    The paper trains up to one layer first and the whole network later; here all sizes are matched all the
    time, as most have done since.
    """

    name: ClassVar[str] = "hints"

    def pairs(
        self, student: GraphModule, teacher: GraphModule, example: Inputs
    ) -> tuple[Pair, ...]:
        return by_size(student, teacher, example)

    def distance(self, pairs: Sequence[Pair]) -> nn.Module:
        return Regressors(pairs)


class Regressors(nn.Module):
    """Squared error of what a linear map of the student's channels makes of the teacher's, as a share of their
    mean square, averaged over the pairs.

    The maps start as the least squares of the first batch: random ones would first teach the student to be
    silent, and behind a ReLU it stays so.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(mine.width, theirs.width) for mine, theirs in pairs)
        self._started = False

    def forward(self, mine: Sequence[Tensor], theirs: Sequence[Tensor], _: Tensor | None) -> Tensor:
        apart = []
        for layer, *pair in zip(self.maps, mine, theirs, strict=True):
            m, t = (value.movedim(1, -1).flatten(0, -2) for value in resized(*pair))
            if not self._started:
                _fit(layer, m.detach(), t)
            apart.append(F.mse_loss(layer(m), t) / t.square().mean().clamp(min=1e-12))
        self._started = True
        return torch.stack(apart).mean()


def _fit(layer: nn.Module, x: Tensor, y: Tensor) -> None:
    """The layer's weights by least squares, (rows, channels) → (rows, channels), a little of a ridge."""
    x, y = (torch.cat([x, torch.ones(len(x), 1)], 1).double(), y.double())
    square = x.T @ x
    ridge = RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
    found = torch.linalg.solve(square + ridge, x.T @ y).float()
    with torch.no_grad():
        layer.weight.copy_(found[:-1].T)  # type: ignore[operator]
        layer.bias.copy_(found[-1])  # type: ignore[operator]
