"""Importance by the size of the weights (Li et al., 2017)."""

from typing import ClassVar

import numpy as np

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.importance import Criterion, Scores, per_unit
from netsuke.nets.graph import tensor_of


class Magnitude(Criterion):
    """Squared weights that make a unit and that take it in. Needs no data."""

    name: ClassVar[str] = "magnitude"
    why: ClassVar[str] = "the smallest squared weights"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        scores = []
        for group in known.groups:
            total = np.zeros(group.units)
            for member in group.members:
                tensor = tensor_of(model.network, member.tensor)
                if member.role != "other" and tensor is not None:
                    total += per_unit(group, member, tensor.float() ** 2)
            scores.append(total)
        return tuple(scores)
