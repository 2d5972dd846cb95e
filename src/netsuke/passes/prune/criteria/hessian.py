"""Importance by the loss's curvature (LeCun et al., 1990, optimal brain damage)."""

from typing import ClassVar

import numpy as np

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.importance import Criterion, Scores, slopes, totals
from netsuke.nets.graph import clone
from netsuke.passes.prune.answers import gradients


class Hessian(Criterion):
    """½·w²·h summed over the weights that take the unit in; h: the Hessian's diagonal.

    At a minimum it is the Fisher information's, the mean square of gradients whose targets are drawn
    from the model's own predictions. Unlike ``taylor`` it takes weights as if they were independent.
    """

    name: ClassVar[str] = "hessian"
    why: ClassVar[str] = "the least curvature of the loss"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        network = clone(model.network).eval()
        scores = tuple(np.zeros(group.units) for group in known.groups)
        for _ in gradients(network, goal):
            for group, total in zip(known.groups, scores, strict=True):
                found = slopes(network, group)
                total += 0.5 * totals(group, ((member, slope**2) for member, slope in found))
        return scores
