"""Optimal Brain Damage: importance by the diagonal of the Hessian (LeCun et al., 1990)."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.graph import clone
from netsuke.nets.sparse.layers import Layer
from netsuke.nets.sparse.saliency import Saliency
from netsuke.passes.prune.answers import gradients


class Obd(Saliency):
    """Half the weight's square times the loss's second derivative, which is taken from the Fisher
    information of calibration samples. Needs no labels."""

    name: ClassVar[str] = "obd"

    def score(self, model: Model, layers: Sequence[Layer], goal: Goal) -> dict[str, Tensor]:
        network = clone(model.network).eval()
        weights = {layer.weight: network.get_parameter(layer.weight) for layer in layers}
        found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for _ in gradients(network, goal):
            for name, weight in weights.items():
                if weight.grad is not None:
                    found[name] += (weight.detach() * weight.grad).square() / 2
        return found
