"""Importance by place: the first unit of a group matters most."""

from typing import ClassVar

import numpy as np

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.importance import Criterion, Scores


class Order(Criterion):
    """What ``search.supernet`` sorted and trained: a narrower network is the first units of each group
    (Yu et al., 2019, "Slimmable neural networks"). Needs no data."""

    name: ClassVar[str] = "order"
    why: ClassVar[str] = "the last places"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        return tuple(-np.arange(group.units, dtype=np.float64) for group in known.groups)
