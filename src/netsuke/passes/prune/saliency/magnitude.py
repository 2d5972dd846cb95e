"""Importance by size (Han et al., 2015)."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.sparse.layers import Layer, value
from netsuke.nets.sparse.saliency import Saliency


class Magnitude(Saliency):
    """The absolute value; of a single weight L1 and L2 are one order. Needs no data."""

    name: ClassVar[str] = "magnitude"

    def score(self, model: Model, layers: Sequence[Layer], goal: Goal) -> dict[str, Tensor]:
        return {layer.weight: value(model.network, layer.weight).abs() for layer in layers}
