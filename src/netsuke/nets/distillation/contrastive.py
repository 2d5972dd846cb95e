"""Which sample it was (Tian, Krishnan and Isola, 2020, "Contrastive representation distillation")."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netsuke.core.passes import Range
from netsuke.nets.distillation.method import OfEmbeddings, Pair

SHARED = 128
"""Dimensions of the space in which both are compared."""


@dataclass(frozen=True, kw_only=True)
class Contrastive(OfEmbeddings):
    """From what the student's last layer reads it must be told which of many samples the teacher saw.

    The paper draws the others from a memory of all samples by their number; here they are those the teacher
    answered last (a queue: He et al., 2020, "Momentum contrast"), so that any stream of data will do. Samples
    of the same class are no counterexamples. others: how many; sharpness: the paper's temperature.
    """

    name: ClassVar[str] = "contrastive"
    weight: float = 0.8
    others: Annotated[int, Range(1, 1_000_000)] = 4096
    sharpness: Annotated[float, Range(0.001, 10)] = 0.07

    def distance(self, pairs: Sequence[Pair]) -> nn.Module:
        ((mine, theirs),) = pairs
        return Contrast((mine.width, theirs.width), self.others, self.sharpness)


class Contrast(nn.Module):
    """Cross-entropy of telling the teacher's view of the same sample from those of others."""

    def __init__(self, widths: tuple[int, int], others: int, sharpness: float) -> None:
        super().__init__()
        self.mine, self.theirs = (nn.Linear(width, SHARED) for width in widths)
        self.others, self.sharpness = others, sharpness
        self.seen = torch.zeros(0, widths[1])
        self.classes = torch.zeros(0)

    def forward(self, mine: Sequence[Tensor], theirs: Sequence[Tensor], target: Tensor | None) -> Tensor:  # fmt: skip
        (m,), (t,) = mine, theirs
        classes = _classes(target, len(t))
        keys = torch.cat([t, self.seen])
        # Its own view comes first; a sample of its class, itself included, is none to be told from.
        same = classes[:, None] == torch.cat([classes, self.classes])[None]
        same.fill_diagonal_(True)
        likeness = F.normalize(self.mine(m)) @ F.normalize(self.theirs(keys)).T / self.sharpness
        own = likeness.diagonal()[: len(m)]
        rest = likeness.masked_fill(same, float("-inf"))
        loss = torch.logsumexp(torch.cat([own[:, None], rest], 1), 1) - own
        self.seen = keys[: self.others].detach()
        self.classes = torch.cat([classes, self.classes])[: self.others]
        return loss.mean()


def _classes(target: Tensor | None, count: int) -> Tensor:
    """The class of each sample; where samples have none, each is its own (NaN is like nothing)."""
    if target is not None and target.ndim == 1 and not target.is_floating_point():
        return target.float()
    return torch.full((count,), float("nan"))
