"""Trying cuts without cutting: the whole network with parts silenced, and what that costs."""

import math
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.data import Stream
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.branches import Branch, add_gates, branches
from netsuke.nets.channels.groups import Groups, Heads, Keep, groups
from netsuke.nets.channels.surgery import silenced
from netsuke.nets.costs import layers
from netsuke.nets.data import Inputs, batches
from netsuke.nets.distillation.losses import soft_loss
from netsuke.nets.evaluation import BatchStatistics
from netsuke.nets.graph import clone, tensor_of
from netsuke.nets.pace import pace

TEMPERATURE = 4.0
WORK, MOST, LEAST = 1e10, 256, 16
"""Multiply-accumulates of one rehearsal, and the limits on its samples."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What can leave a network: units of channel groups, and whole branches."""

    groups: Groups
    branches: tuple[Branch, ...]


def parts(model: Model, heads: Heads = "whole") -> Parts:
    """Everything that can leave a model. heads: as in ``groups``."""
    return Parts(groups(model, heads), branches(model))


class Rehearsal:
    """How far the outputs move from the original's when units and branches fall silent.

    BatchNorm normalises by the batch at hand, as after its statistics are estimated anew. Needs
    inputs only.
    """

    def __init__(self, model: Model, parts: Parts, goal: Goal) -> None:
        inputs = _some_inputs(model, goal.data.calibrate)
        tempo = pace(model.network, inputs)
        self._known, self._distance = parts.groups, soft_loss(goal.data, TEMPERATURE)
        self._inputs = tempo.lay(inputs)
        self._network = clone(model.network).eval()
        self._gates = add_gates(self._network, parts.branches)
        tempo.settle(self._network)
        self._whole = {n: _tensor(self._network, n).detach().clone() for n in self._known.consumers}
        with torch.inference_mode():
            self._original = self._network(*self._inputs)

    def rough(self, share: float) -> "Rehearsal":
        """The same on this share of the samples, on ``LEAST`` at least, for where many tries are wanted: quicker by as much."""
        whole = len(self._inputs[0])
        count = min(whole, max(LEAST, round(share * whole)))
        found = copy(self)
        found._inputs = tuple(given[:count] for given in self._inputs)
        with torch.inference_mode():
            first = self._original if isinstance(self._original, Tensor) else self._original[0]
            found._original = first[: len(first) * count // whole]
        return found

    def damage(self, keep: Keep, leaving: Iterable[Branch]) -> float:
        """Distance of the outputs to the original's, above 0; NaN counts as infinite."""
        gone = set(leaving)
        with torch.no_grad():
            for name, tensor in silenced(self._known, keep, self._whole).items():
                _tensor(self._network, name).copy_(tensor)
            for branch, gate in self._gates.items():
                _tensor(self._network, gate).fill_(0.0 if branch in gone else 1.0)
            given = BatchStatistics(self._network).run(*self._inputs)
            distance = float(self._distance(given, self._original))
        return distance if math.isfinite(distance) else math.inf


def _some_inputs(model: Model, stream: Stream) -> Inputs:
    """Calibration samples in one batch: the dearer the network, the fewer."""
    work = max(1, sum(layer.macs for layer in layers(model)))
    count = min(MOST, max(LEAST, int(WORK / work)))
    found, left = [], count
    for inputs, _ in batches(stream, count):
        found.append(tuple(t[:left] for t in inputs))
        left -= len(found[-1][0])
        if left <= 0:
            break
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def _tensor(network: GraphModule, name: str) -> Tensor:
    tensor = tensor_of(network, name)
    assert tensor is not None, name  # a name that came from this network
    return tensor
