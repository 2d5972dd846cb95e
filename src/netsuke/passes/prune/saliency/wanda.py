"""Importance by size and by what the weight is multiplied with (Sun et al., 2024)."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.fx import Node

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.moments import show
from netsuke.nets.quantizers.roles import op
from netsuke.nets.samples import Calibration
from netsuke.nets.sparse.layers import TRANSPOSED, Layer, check_finite, value
from netsuke.nets.sparse.saliency import Saliency

SAMPLES = 256


class Wanda(Saliency):
    """Weight times the norm of its input on calibration samples, squared, as a share of the layer's:
    so that layers can be compared. Needs no labels. The inputs of transposed convolutions count as
    alike."""

    name: ClassVar[str] = "wanda"

    def score(self, model: Model, layers: Sequence[Layer], goal: Goal) -> dict[str, Tensor]:
        named = {node: x.weight for x in layers for node in x.nodes if op(node) not in TRANSPOSED}
        norms: dict[str, Tensor] = {}

        def see(node: Node, x: Tensor, _: Tensor) -> None:
            check_finite(node, x)
            found = x.square().sum(1)
            norms[named[node]] = norms.get(named[node], torch.zeros_like(found)) + found

        show(model.network, named, Calibration(model, goal, SAMPLES), see, goal.seed)
        return {
            x.weight: _score(value(model.network, x.weight), norms.get(x.weight)) for x in layers
        }


def _score(weight: Tensor, norms: Tensor | None) -> Tensor:
    power = weight.square()
    if norms is not None:
        rows = power.reshape(len(norms), len(weight) // len(norms), -1)
        power = (rows * norms[:, None]).reshape(weight.shape)
    return power / power.sum().clamp(min=torch.finfo(torch.float32).tiny)
