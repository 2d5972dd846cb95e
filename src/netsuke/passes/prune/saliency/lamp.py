"""Importance by size among what is left of the layer (Lee et al., 2021)."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.sparse.layers import Layer, value
from netsuke.nets.sparse.saliency import Saliency


class Lamp(Saliency):
    """A weight's square over the sum of all squares in its layer that are no smaller: how much of
    the layer would leave with it, once the smaller ones have left. Needs no data."""

    name: ClassVar[str] = "lamp"

    def score(self, model: Model, layers: Sequence[Layer], goal: Goal) -> dict[str, Tensor]:
        return {layer.weight: _score(value(model.network, layer.weight)) for layer in layers}


def _score(weight: Tensor) -> Tensor:
    squares, order = weight.flatten().double().square().sort(descending=True)
    shares = squares / squares.cumsum(0).clamp(min=torch.finfo(torch.float64).tiny)
    return torch.empty_like(shares).scatter_(0, order, shares).float().view(weight.shape)
