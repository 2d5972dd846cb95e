"""What a trial came to on the way, and whether that is promising."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from netsuke.study.front import Point, dominates

ETA = 3
"""One of so many goes on."""


@dataclass(frozen=True)
class Mark:
    """What a trial came to before its end. over: by how much, as a share, it was beyond its worst limit."""

    point: Point
    over: float

    def to_dict(self) -> dict[str, Any]:
        return {"point": list(self.point), "over": self.over}


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
