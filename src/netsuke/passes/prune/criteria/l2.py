"""Importance by the length of the filters that make a channel (He et al., 2018, soft filter pruning)."""

from typing import ClassVar

import numpy as np

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.importance import Criterion, Scores, makers, totals


class L2(Criterion):
    """The Euclidean norm of the filters that make a unit. Needs no data.

    ``magnitude`` counts the weights that take the unit in as well.
    """

    name: ClassVar[str] = "l2"
    why: ClassVar[str] = "the shortest filters"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        scores = []
        for group in known.groups:
            found = makers(model.network, group)
            scores.append(np.sqrt(totals(group, ((member, w.float() ** 2) for member, w in found))))
        return tuple(scores)
