"""Where a network looks (Zagoruyko and Komodakis, 2017, "Paying more attention to attention")."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from netsuke.nets.data import Inputs
from netsuke.nets.distillation.method import Method, Pair, by_size
from netsuke.nets.distillation.values import resized

DARK = 1e-3
"""Maps of less energy are not made as long as others: where nearly nothing is seen, gradients would explode."""


@dataclass(frozen=True, kw_only=True)
class Attention(Method):
    """Maps of the energy of values, over the places of a picture or sequence: a map has one value a place,
    whatever the number of channels, so that a narrower student is compared as it is."""

    name: ClassVar[str] = "attention"
    weight: float = 1000.0

    def pairs(
        self, student: GraphModule, teacher: GraphModule, example: Inputs
    ) -> tuple[Pair, ...]:
        found = by_size(student, teacher, example)
        return tuple(pair for pair in found if max(pair[0].size, default=1) > 1)

    def told(self, value: Tensor) -> Tensor:
        """(batch, 1, …): squares, averaged over channels."""
        return value.square().mean(1, keepdim=True)

    def distance(self, pairs: Sequence[Pair]) -> nn.Module:
        return Maps()


class Maps(nn.Module):
    """Mean squared difference of maps of length 1, summed up over the pairs."""

    def forward(self, mine: Sequence[Tensor], theirs: Sequence[Tensor], _: Tensor | None) -> Tensor:
        total = mine[0].new_zeros(())
        for pair in zip(mine, theirs, strict=True):
            m, t = (F.normalize(value.flatten(1), eps=DARK) for value in resized(*pair))
            total = total + F.mse_loss(m, t)
        return total
