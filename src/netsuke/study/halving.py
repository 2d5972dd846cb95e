"""Successive halving: a trial that trains is looked at before, begins with a share of its training, and goes on if
that is promising."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netsuke.core.recipe import Recipe
from netsuke.study.epochs import with_epochs
from netsuke.study.first_look import is_drawn, look
from netsuke.study.laboratory import Laboratory
from netsuke.study.marks import Mark, ahead, promising

RUNGS = (1 / 9, 1 / 3)
"""Shares of the epochs that are tried first (Jamieson and Talwalkar, 2016; without waiting for others, as Li et
al., 2020, "A system for massively parallel hyperparameter tuning")."""
KEY = "rungs"
"""Of a trial's own notes: what it came to on each."""


@dataclass(frozen=True)
class Climb:
    """rungs: what a trial came to on each. stopped: why it should not go on; None where it should. spent: seconds of
    carving and measuring."""

    rungs: Mapping[str, Any]
    stopped: str | None
    spent: float


def climbed(recipe: Recipe, laboratory: Laboratory, earlier: Iterable[Mapping[str, Any]]) -> Climb:
    """A trial up to its last rung. earlier: what others came to on theirs. Raises as ``Laboratory.measure``."""
    ladder = _Ladder(list(earlier))
    start = time.monotonic()
    proxy = laboratory.proxy if is_drawn(recipe) else None
    first = look(recipe, laboratory, proxy)
    ladder.spent += time.monotonic() - start
    if first is not None:
        if first.over > 0:
            return ladder.climb(f"not trained: {100 * first.over:.0f} % beyond its limits")
        if proxy is not None and not ladder.passes("0", first):
            return ladder.climb(f"not trained: by {proxy.name} {ladder.told}")
    for share in RUNGS:
        short, rung = shortened(recipe, share), f"1/{round(1 / share)}"
        if short is None:
            continue
        result = laboratory.measure(short)
        ladder.spent += result.working + result.measuring
        mark = Mark(tuple(result.values[o] for o in laboratory.objectives), result.over)
        if not ladder.passes(rung, mark):
            return ladder.climb(f"stopped after {rung} of its training: {ladder.told}")
    return ladder.climb(None)


class _Ladder:
    """The rungs of one trial. earlier: what other trials came to on theirs."""

    def __init__(self, earlier: Sequence[Mapping[str, Any]]) -> None:
        self._earlier = earlier
        self.found: dict[str, Any] = {}
        self.told, self.spent = "", 0.0

    def climb(self, stopped: str | None) -> Climb:
        """What came of it."""
        return Climb(self.found, stopped, self.spent)

    def passes(self, rung: str, mark: Mark) -> bool:
        """Whether it may go on; what it came to is noted."""
        self.found[rung] = mark.to_dict()
        known = [k[rung] for k in self._earlier if rung in k]
        others = [Mark(tuple(k["point"]), k["over"]) for k in known]
        self.told = f"{ahead(mark, others)} of {len(others)} others were better"
        return promising(mark, others)


def shortened(recipe: Recipe, share: float) -> Recipe | None:
    """The recipe with this share of each training; None where no training would get shorter, or one would be
    none."""
    return with_epochs(recipe, lambda epochs: math.floor(share * epochs + 1e-9) or None)
