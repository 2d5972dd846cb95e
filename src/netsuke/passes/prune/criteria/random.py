"""No importance at all: the control that every criterion must beat."""

from typing import ClassVar

import numpy as np

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.importance import Criterion, Scores


class Random(Criterion):
    """Drawn by the goal's seed."""

    name: ClassVar[str] = "random"
    why: ClassVar[str] = "the lowest lots, drawn by the seed"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        draw = np.random.default_rng(goal.seed)
        return tuple(draw.random(group.units) for group in known.groups)
