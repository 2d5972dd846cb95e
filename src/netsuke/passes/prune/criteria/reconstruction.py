"""Importance by what cannot be made good (Hassibi and Stork, 1993; Frantar and Alistarh, 2022)."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Group, Groups, Member
from netsuke.nets.channels.importance import Criterion, Scores
from netsuke.nets.moments import moments, weight_of, weighted
from netsuke.nets.samples import Calibration

SAMPLES = 256
DAMP = 1e-2
"""Share of the mean diagonal added to it: inputs that are always zero have no inverse."""


class Reconstruction(Criterion):
    """The squared error of the layers that take a unit in, after their other weights are re-fitted by
    least squares on calibration data.

    Units leave one by one, the least error first, and the next is judged with those gone (the
    optimal brain surgeon, a unit at a time); the score is the error by then. Layers count by the
    share of their outputs' power. Without labels.
    """

    name: ClassVar[str] = "reconstruction"
    why: ClassVar[str] = "what the others can best make up for"

    def score(self, model: Model, known: Groups, goal: Goal) -> tuple[Scores, ...]:
        readers = weighted(model.network)
        scores = []
        for group in goal.track(known.groups, "what cannot be made good"):
            layers = {
                n: m
                for m in group.members
                if m.role == "consumer" and m.dim == 1
                for n in readers.get(m.tensor, ())
            }
            batches = Calibration(model, goal, SAMPLES)
            found = moments(model.network, list(layers), batches, goal.seed)
            taken = [
                block
                for layer, gram in found
                for block in _blocks(group, layers[layer], weight_of(model.network, layer), gram)
            ]
            scores.append(_eliminated(group.units, taken))
        return tuple(scores)


class _Block:
    """One layer (or one group of a grouped one) that takes units in.

    places: (units, indices): the columns of each unit.
    """

    def __init__(self, weight: Tensor, gram: Tensor, places: Tensor) -> None:
        damp = DAMP * gram.diagonal().mean() + 1e-12
        self._inverse = torch.linalg.inv(gram + damp * torch.eye(len(gram), dtype=gram.dtype))
        power = torch.einsum("oi,ij,oj->", weight, gram, weight)
        self._weight = weight / (power + 1e-12).sqrt()
        self._places = places

    def errors(self) -> Tensor:
        """What each unit's leaving would cost."""
        p = self._places
        own = self._inverse[p[:, :, None], p[:, None, :]]
        w = self._weight[:, p].movedim(1, 0)
        return torch.einsum("uos,uso->u", w, torch.linalg.solve(own, w.mT))

    def remove(self, unit: int) -> None:
        """Without this unit, the others' weights re-fitted."""
        p = self._places[unit]
        across = torch.linalg.solve(self._inverse[p][:, p], self._inverse[p])
        self._weight -= self._weight[:, p] @ across
        self._inverse -= self._inverse[:, p] @ across
        # an identity in its place keeps what is gone solvable; its weights are zero
        self._inverse[p, p] = 1.0


def _blocks(group: Group, member: Member, weight: Tensor, gram: Tensor) -> list[_Block]:
    groups, inputs = gram.shape[:2]
    apart = weight.double().reshape(groups, -1, inputs)
    kernel = inputs // len(member.unit)
    unit = np.repeat(member.unit, kernel)
    inside = np.flatnonzero(unit >= 0)
    order = inside[np.argsort(unit[inside], kind="stable")]
    places = torch.from_numpy(order.reshape(group.units, -1))
    return [_Block(w, g, places) for w, g in zip(apart, gram, strict=True)]


def _eliminated(units: int, blocks: list[_Block]) -> Scores:
    """The error with each unit and all that left before it gone."""
    scores, total = np.zeros(units), 0.0
    if not blocks:
        return scores
    stays = torch.ones(units, dtype=torch.bool)
    for _ in range(units):
        errors = torch.stack([block.errors() for block in blocks]).sum(0)
        unit = int(torch.where(stays, errors, torch.inf).argmin())
        total += max(float(errors[unit]), 0.0)
        scores[unit], stays[unit] = total, False
        for block in blocks:
            block.remove(unit)
    return scores
