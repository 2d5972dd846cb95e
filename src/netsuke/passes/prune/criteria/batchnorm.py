"""Importance by BatchNorm's scale (Liu et al., 2017, "network slimming")."""

from typing import ClassVar

import numpy as np
from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups
from netsuke.nets.channels.importance import Criterion, Scores, per_unit
from netsuke.nets.graph import argument, op, tensor_of
from netsuke.passes.prune.criteria.l2 import L2


class BatchNorm(Criterion):
    """The absolute scale that BatchNorm gives a unit, summed over its norms. Needs no data.

    Meant for networks trained with a penalty on these scales. A group without BatchNorm is ranked by
    the length of its filters (``l2``).
    """

    name: ClassVar[str] = "batchnorm"
    why: ClassVar[str] = "the smallest BatchNorm scales"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        scales, lengths = _scales(model.network), L2().score(model, known, goal)
        scores = []
        for group, length in zip(known.groups, lengths, strict=True):
            total = np.zeros(group.units)
            for member in group.members:
                tensor = tensor_of(model.network, member.tensor)
                if member.tensor in scales and tensor is not None:
                    total += per_unit(group, member, tensor.float().abs())
            scores.append(total if total.any() else length)
        return tuple(scores)


def _scales(network: GraphModule) -> set[str]:
    """Names of BatchNorms' scales."""
    norms = [n for n in network.graph.nodes if op(n) == "batch_norm"]
    return {str(w.target) for n in norms if (w := argument(n, "weight")) is not None}
