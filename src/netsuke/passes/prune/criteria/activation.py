"""Importance by weights and what they are multiplied with (after Wanda; Sun et al., 2024)."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.importance import Criterion, Scores, per_unit, weights
from netsuke.nets.moments import show, weighted
from netsuke.nets.samples import Calibration

SAMPLES = 256


class Activation(Criterion):
    """|w|·‖x‖ summed over the weights that take the unit in; ‖x‖: the norm of what each is multiplied
    with on calibration data, without labels. 1 where what reads the unit is no convolution or linear
    layer."""

    name: ClassVar[str] = "activation"
    why: ClassVar[str] = "the least of weights times activations"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        norms = _norms(model, known, goal)
        scores = []
        for group in known.groups:
            total = np.zeros(group.units)
            for member, weight in weights(model.network, group, "consumer"):
                by_input = norms.get(member.tensor)
                size = weight.abs() if by_input is None else _scaled(weight, by_input)
                total += per_unit(group, member, size)
            scores.append(total)
        return tuple(scores)


def _norms(model: Model, known: Groups, goal: Goal) -> dict[str, Tensor]:
    """By the name of a weight, the root mean square of each input: (groups, inputs)."""
    readers = weighted(model.network)
    layers = {n: name for name in known.consumers for n in readers.get(name, ())}
    squares: dict[str, Tensor] = {}
    counts = dict.fromkeys(layers.values(), 0)

    def add(node: Node, x: Tensor, _: Tensor) -> None:
        name = layers[node]
        found = (x.double() ** 2).sum(1)
        squares[name] = squares[name] + found if name in squares else found
        counts[name] += x.shape[1]

    show(model.network, layers, Calibration(model, goal, SAMPLES), add, goal.seed)
    return {name: torch.sqrt(total / counts[name]) for name, total in squares.items()}


def _scaled(weight: Tensor, norms: Tensor) -> Tensor:
    """|w|·‖x‖, in the weight's shape."""
    groups, inputs = norms.shape
    apart = weight.abs().double().reshape(groups, -1, inputs)
    return (apart * norms[:, None]).reshape(weight.shape)
