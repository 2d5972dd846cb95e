"""Successive halving: a trial that trains begins with a share of its training, and goes on if that is promising."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from netsuke.core.passes import Pass
from netsuke.core.recipe import Recipe
from netsuke.study.front import Point, dominates
from netsuke.study.laboratory import Laboratory

ETA = 3
"""One of so many goes on."""
RUNGS = (1 / 9, 1 / 3)
"""Shares of the epochs that are tried first (Jamieson and Talwalkar, 2016; without waiting for others, as Li et
al., 2020, "A system for massively parallel hyperparameter tuning")."""
KEY = "rungs"
"""Of a trial's own notes: what it came to on each."""


@dataclass(frozen=True)
class Mark:
    """What a trial came to on a rung. over: by how much, as a share, it was beyond its worst limit."""

    point: Point
    over: float

    def to_dict(self) -> dict[str, Any]:
        return {"point": list(self.point), "over": self.over}


def climbed(
    recipe: Recipe, laboratory: Laboratory, earlier: Iterable[Mapping[str, Any]]
) -> tuple[dict[str, Any], str | None]:
    """(What it came to on each rung, why it should not go on; None where it should).

    earlier: the same of other trials. Raises as ``Laboratory.measure``.
    """
    known, found = list(earlier), {}
    for share in RUNGS:
        short, rung = shortened(recipe, share), f"1/{round(1 / share)}"
        if short is None:
            continue
        result = laboratory.measure(short)
        mark = Mark(tuple(result.values[o] for o in laboratory.objectives), result.over)
        found[rung] = mark.to_dict()
        others = [Mark(tuple(k[rung]["point"]), k[rung]["over"]) for k in known if rung in k]
        if not promising(mark, others):
            return found, f"stopped after {rung} of its training: {ahead(mark, others)} of {len(others)} others were better"  # fmt: skip
    return found, None


def shortened(recipe: Recipe, share: float) -> Recipe | None:
    """The recipe with this share of each training; None where no training would get shorter, or one would be
    none."""
    passes = [_shorter(one, share) for one in recipe]
    if None in passes or tuple(passes) == tuple(recipe):
        return None
    return Recipe(*(one for one in passes if one is not None))


def promising(mark: Mark, others: Sequence[Mark]) -> bool:
    """Whether it is among the best of those that came so far; the first ones are."""
    return ahead(mark, others) * ETA < len(others) + ETA


def ahead(mark: Mark, others: Iterable[Mark]) -> int:
    """How many are better: within the limits, or nearer to them; then nowhere worse and somewhere better."""
    return sum(_better(other, mark) for other in others)


def _better(one: Mark, other: Mark) -> bool:
    if one.over > 0 or other.over > 0:
        return max(one.over, 0.0) < max(other.over, 0.0)
    return dominates(one.point, other.point)


def _shorter(one: Pass, share: float) -> Pass | None:
    epochs = one.settings().get("epochs", 0)
    if not epochs:
        return one
    fewer = math.floor(share * epochs + 1e-9)
    return replace(one, epochs=fewer) if fewer else None  # type: ignore[call-arg]
