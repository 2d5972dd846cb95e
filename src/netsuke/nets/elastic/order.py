"""Units in the order of their worth, so that a narrower network is the first of each group's units."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.model import Model
from netsuke.nets.channels.groups import Group, Groups, Member
from netsuke.nets.channels.importance import Scores
from netsuke.nets.channels.labels import Ints
from netsuke.nets.evaluation import evaluating
from netsuke.nets.graph import clone, set_tensor, tensor_of

TOLERANCE = 1e-4
"""Largest difference of the outputs, relative to the largest, that another order of summing may make."""


def ordered(
    model: Model, known: Groups, scores: Sequence[Scores]
) -> tuple[Model, tuple[Group, ...]]:
    """(The model with the units of each group sorted, the highest score first; groups that could not be.)

    It computes what it did. A group whose order is read elsewhere (its units are not alike to the
    operations that move them) stays as it is.
    """
    wanted = _outputs(model.network, model.example)
    pairs = list(zip(known.groups, scores, strict=True))
    network = clone(model.network)
    for group, score in pairs:
        _sort(network, group, score)
    if _same(network, model.example, wanted):
        return replace(model, network=network), ()
    network, stubborn = clone(model.network), []
    for group, score in pairs:
        trial = clone(network)
        _sort(trial, group, score)
        if _same(trial, model.example, wanted):
            network = trial
        else:
            stubborn.append(group)
    return replace(model, network=network), tuple(stubborn)


def _sort(network: GraphModule, group: Group, score: Scores) -> None:
    """In place."""
    order = np.argsort(-score, kind="stable")
    for member in group.members:
        tensor = tensor_of(network, member.tensor)
        assert tensor is not None, member.tensor  # a member's name comes from this very network
        moved = torch.from_numpy(_moved(member, order))
        set_tensor(network, member.tensor, tensor.detach().index_select(member.dim, moved))


def _moved(member: Member, order: Ints) -> Ints:
    """For every index of the member's dimension, where what will stand there stands now."""
    places = [member.indices(unit) for unit in range(len(order))]
    moved = np.arange(len(member.unit))
    for unit, comes in enumerate(order.tolist()):
        moved[places[unit]] = places[comes]
    return moved


def _same(network: GraphModule, example: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> bool:
    pairs = zip(_outputs(network, example), wanted, strict=True)
    return all(float((a - b).abs().max()) <= TOLERANCE * float(b.abs().max()) for a, b in pairs)


def _outputs(network: GraphModule, example: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    with evaluating(network):
        given = network(*example)
    return (given,) if isinstance(given, Tensor) else tuple(given)
