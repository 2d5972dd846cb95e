"""Importance by the loss's curvature (LeCun et al., 1990, optimal brain damage)."""

from typing import ClassVar

import numpy as np

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.importance import Criterion, Scores, per_unit
from netsuke.nets.graph import clone, tensor_of
from netsuke.passes.prune.criteria._answers import surprises


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
        for loss in surprises(network, goal):
            network.zero_grad(set_to_none=True)
            loss.backward()
            for group, total in zip(known.groups, scores, strict=True):
                for member in group.members:
                    tensor = tensor_of(network, member.tensor)
                    if member.role == "consumer" and tensor is not None and tensor.grad is not None:
                        total += 0.5 * per_unit(group, member, (tensor * tensor.grad) ** 2)
        return scores
