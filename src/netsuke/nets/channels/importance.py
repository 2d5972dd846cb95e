"""How much each unit of a channel group matters: what every criterion of it shares."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Group, Groups, Member

Scores = NDArray[np.float64]


class Criterion(ABC):
    """Scores units, so that the least important of a group leave first.

    Scores are compared within a group only. A new criterion is one file in
    ``passes/prune/criteria``.
    """

    name: ClassVar[str]

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
