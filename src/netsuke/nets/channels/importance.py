"""How much each unit of a channel group matters: what every criterion of it shares."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Group, Groups, Member, Role
from netsuke.nets.graph import tensor_of

Scores = NDArray[np.float64]


class Criterion(ABC):
    """Scores units, so that the least important of a group leave first.

    Scores are compared within a group only. A new criterion is one file in
    ``passes/prune/criteria``. why: what is least of the units that leave first, in words for a
    report that go on from "those with".
    """

    name: ClassVar[str]
    why: ClassVar[str]

    @abstractmethod
    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        """For each group one score a unit, higher is more important."""


def per_unit(group: Group, member: Member, values: Tensor) -> Scores:
    """Sums of a member tensor's elements by the unit they belong to."""
    along = values.detach().movedim(member.dim, 0).reshape(values.shape[member.dim], -1)
    sums = along.sum(1).double().numpy()
    inside = member.unit >= 0
    scores = np.zeros(group.units)
    np.add.at(scores, member.unit[inside], sums[inside])
    return scores


def totals(group: Group, parts: Iterable[tuple[Member, Tensor]]) -> Scores:
    """``per_unit`` summed over several tensors; zeros where there is none."""
    scores = np.zeros(group.units)
    for member, values in parts:
        scores += per_unit(group, member, values)
    return scores


def weights(network: GraphModule, group: Group, role: Role) -> Iterator[tuple[Member, Tensor]]:
    """The tensors that make a group's units ("producer") or take them in ("consumer")."""
    for member in group.members:
        tensor = tensor_of(network, member.tensor)
        if member.role == role and tensor is not None:
            yield member, tensor.detach()


def slopes(network: GraphModule, group: Group) -> Iterator[tuple[Member, Tensor]]:
    """Weight × gradient of the tensors that take a group's units in, where there is a gradient."""
    for member in group.members:
        tensor = tensor_of(network, member.tensor)
        if member.role == "consumer" and tensor is not None and tensor.grad is not None:
            yield member, tensor.detach() * tensor.grad


def makers(network: GraphModule, group: Group) -> list[tuple[Member, Tensor]]:
    """What makes a group's units; what takes them in where nothing of this network makes them."""
    return list(weights(network, group, "producer")) or list(weights(network, group, "consumer"))
