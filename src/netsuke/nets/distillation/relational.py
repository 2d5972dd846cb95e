"""How samples lie to each other (Park et al., 2019, "Relational knowledge distillation")."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netsuke.core.passes import Range
from netsuke.nets.distillation.method import OfEmbeddings, Pair


@dataclass(frozen=True, kw_only=True)
class Relational(OfEmbeddings):
    """Distances between the samples of a batch, and angles between three of them, in what the last layer
    reads; networks of any widths are compared. distances, angles: their weights, as in the paper."""

    name: ClassVar[str] = "relational"
    distances: Annotated[float, Range(0, 1e6)] = 25.0
    angles: Annotated[float, Range(0, 1e6)] = 50.0

    def distance(self, pairs: Sequence[Pair]) -> nn.Module:
        return Relations(self.distances, self.angles)


class Relations(nn.Module):
    """Huber losses of distances, as shares of their mean, and of cosines of angles."""

    def __init__(self, distances: float, angles: float) -> None:
        super().__init__()
        self.weights = distances, angles

    def forward(self, mine: Sequence[Tensor], theirs: Sequence[Tensor], _: Tensor | None) -> Tensor:
        total = mine[0].new_zeros(())
        for m, t in zip(mine, theirs, strict=True):
            for weight, relation in zip(self.weights, (distances, angles), strict=True):
                total = total + weight * F.smooth_l1_loss(relation(m), relation(t))
        return total


def distances(x: Tensor) -> Tensor:
    """(samples, samples): Euclidean distances over the mean of those that are not zero."""
    # The square root has no slope at zero, which a sample's distance to itself is.
    squares = (x[:, None] - x[None]).square().sum(2)
    apart = squares.clamp(min=1e-12).sqrt() * (squares > 0)
    mean = apart.sum() / (squares > 0).sum().clamp(min=1)
    return apart / mean.clamp(min=1e-12)


def angles(x: Tensor) -> Tensor:
    """(samples, samples, samples): cosines of the angle at the first, between the other two."""
    to = F.normalize(x[None] - x[:, None], dim=2)
    return torch.bmm(to, to.transpose(1, 2))
