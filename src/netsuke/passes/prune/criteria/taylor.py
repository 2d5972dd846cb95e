"""Importance by what the loss would change if a unit were silent (Molchanov et al., 2019)."""

from typing import ClassVar

import numpy as np

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.importance import Criterion, Scores, slopes, totals
from netsuke.nets.graph import clone
from netsuke.passes.prune.answers import gradients


class Taylor(Criterion):
    """A gate of 1 before whatever takes the unit in: the mean square of the loss's slope there.

    The gate's slope is weight × gradient summed over the weights that take the unit in. With targets
    drawn from the model's own softened predictions ResNet-20, cut to 1/1.65 of the time, kept 51 % of
    the test images right before retraining, against 37 % with labels and 46 % with magnitudes.
    """

    name: ClassVar[str] = "taylor"
    why: ClassVar[str] = "the flattest slopes of the loss"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        network = clone(model.network).eval()
        scores = tuple(np.zeros(group.units) for group in known.groups)
        for _ in gradients(network, goal):
            for group, total in zip(known.groups, scores, strict=True):
                total += totals(group, slopes(network, group)) ** 2
        return scores
