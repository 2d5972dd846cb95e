"""Importance by the distance to the other filters (He et al., 2019, FPGM)."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Group, Groups, Member
from netsuke.nets.channels.importance import Criterion, Scores, makers


class Median(Criterion):
    """The sum of a unit's distances to all others of its group: the least is nearest to the geometric
    median, and the others can stand in for it. Needs no data."""

    name: ClassVar[str] = "median"
    why: ClassVar[str] = "the filters nearest to the others"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        return tuple(_distances(group, makers(model.network, group)) for group in known.groups)


def _distances(group: Group, found: list[tuple[Member, Tensor]]) -> Scores:
    squares = torch.zeros(group.units, group.units, dtype=torch.float64)
    for member, tensor in found:
        filters = _by_unit(group, member, tensor).double()
        squares += torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    total: Scores = squares.sqrt().sum(1).numpy()
    return total


def _by_unit(group: Group, member: Member, tensor: Tensor) -> Tensor:
    """(units, values): the weights of each unit in the order of their indices."""
    inside = np.flatnonzero(member.unit >= 0)
    order = inside[np.argsort(member.unit[inside], kind="stable")]
    along = tensor.movedim(member.dim, 0).reshape(tensor.shape[member.dim], -1)
    return along[torch.from_numpy(order)].reshape(group.units, -1)
