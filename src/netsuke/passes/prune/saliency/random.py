"""No importance at all: the control that every other criterion must beat."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.sparse.layers import Layer
from netsuke.nets.sparse.saliency import Saliency


class Random(Saliency):
    """Drawn by the goal's seed."""

    name: ClassVar[str] = "random"

    def score(self, model: Model, layers: Sequence[Layer], goal: Goal) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(goal.seed)
        return {layer.weight: torch.rand(layer.shape, generator=draw) for layer in layers}
