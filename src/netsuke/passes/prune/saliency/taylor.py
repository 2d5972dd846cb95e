"""Importance by what the loss would change to first order (Molchanov et al., 2017)."""

import itertools
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.data import batches
from netsuke.nets.distillation.losses import hard_loss
from netsuke.nets.graph import clone
from netsuke.nets.sparse.layers import Layer
from netsuke.nets.sparse.saliency import Saliency

BATCH, BATCHES = 64, 20


class Taylor(Saliency):
    """The mean square of weight × gradient of the task's loss, over batches of training data.

    Raises NetsukeError without labelled training data; ``obd`` needs none.
    """

    name: ClassVar[str] = "taylor"
    labels: ClassVar[bool] = True

    def score(self, model: Model, layers: Sequence[Layer], goal: Goal) -> dict[str, Tensor]:
        if goal.data.train is None:
            raise NetsukeError(
                'criterion "taylor" needs training data with labels; "obd" needs none'
            )
        network, loss = clone(model.network).eval(), hard_loss(goal.data)
        weights = {layer.weight: network.get_parameter(layer.weight) for layer in layers}
        found = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        stream = batches(goal.data.train, BATCH, goal.seed)
        for inputs, target in itertools.islice(stream, BATCHES):
            network.zero_grad(set_to_none=True)
            loss(network(*inputs), target).backward()
            for name, weight in weights.items():
                if weight.grad is not None:
                    found[name] += (weight.detach() * weight.grad).square()
        return found
