"""Importance by the absolute weights that make a channel (Li et al., 2017)."""

from typing import ClassVar

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.importance import Criterion, Scores, makers, totals


class L1(Criterion):
    """The sum of the absolute weights of the filters that make a unit. Needs no data."""

    name: ClassVar[str] = "l1"
    why: ClassVar[str] = "the smallest absolute weights"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        scores = []
        for group in known.groups:
            found = makers(model.network, group)
            scores.append(totals(group, ((member, w.float().abs()) for member, w in found)))
        return tuple(scores)
