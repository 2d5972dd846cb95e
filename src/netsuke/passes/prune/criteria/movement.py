"""Importance by where training moves the weights (Sanh et al., 2020, movement pruning)."""

from typing import ClassVar

import numpy as np
import torch

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.importance import Criterion, Scores, slopes, totals
from netsuke.nets.data import batches
from netsuke.nets.distillation.losses import hard_loss
from netsuke.nets.graph import clone

BATCH, STEPS, RATE = 64, 40, 0.005


class Movement(Criterion):
    """−w·gradient summed over a short fine-tuning and the weights that take the unit in: what training
    lets shrink goes first.

    Meant for a network on its way to a new task. One that has converged moves little, and mostly by
    chance. Needs training data with labels; raises NetsukeError without.
    """

    name: ClassVar[str] = "movement"
    why: ClassVar[str] = "weights that training lets shrink most"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        if goal.data.train is None:
            raise NetsukeError(
                "prune.channels.criterion: movement follows training, and the task has no training "
                "data; take taylor, which needs none"
            )
        network, loss = clone(model.network).eval(), hard_loss(goal.data)
        scores = tuple(np.zeros(group.units) for group in known.groups)
        optimizer = torch.optim.SGD(network.parameters(), RATE, 0.9)
        left = STEPS
        while left:
            for inputs, targets in batches(goal.data.train, BATCH, goal.seed + left):
                optimizer.zero_grad(set_to_none=True)
                loss(network(*inputs), targets).backward()
                for group, total in zip(known.groups, scores, strict=True):
                    total -= totals(group, slopes(network, group))
                optimizer.step()
                left -= 1
                if not left:
                    break
        return scores
