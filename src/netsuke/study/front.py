"""What no other trial beats in everything: the front, its volume, and what is taken from it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Point = tuple[float, ...]


@dataclass(frozen=True)
class Found:
    """A trial that ended well. values: by name, all the better the less. over: by how much, as a share, it
    is beyond its worst limit; 0 or less is within all."""

    number: int
    recipe: str
    values: Mapping[str, float]
    over: float
    place: str

    def to_dict(self) -> dict[str, Any]:
        return {"number": self.number, "recipe": self.recipe, "values": dict(self.values),
                "over": self.over, "place": self.place}  # fmt: skip


def front(found: Iterable[Found], objectives: Sequence[str]) -> tuple[Found, ...]:
    """Those within the limits that no other such one beats or equals in everything; the least by the first
    objective first."""
    allowed = [one for one in found if one.over <= 0]
    points = [tuple(one.values[o] for o in objectives) for one in allowed]
    left = [
        one
        for i, one in enumerate(allowed)
        if not any(
            dominates(other, points[i]) or (other == points[i] and j < i)
            for j, other in enumerate(points)
        )
    ]
    return tuple(sorted(left, key=lambda one: one.values[objectives[0]]))


def dominates(one: Point, other: Point) -> bool:
    """Whether it is nowhere worse and somewhere better."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """What lies between the points and a reference point that is worse than all of them (Zitzler and Thiele,
    1998); points that are not better than it everywhere count for nothing.

    By slices along the last objective; fronts of studies are small.
    """
    inside = [p for p in points if _within(p, reference)]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(p[0] for p in inside)
    if len(reference) == 2:
        return _area(inside, reference)
    total, edges = 0.0, sorted({p[-1] for p in inside})
    for low, high in zip(edges, [*edges[1:], reference[-1]], strict=True):
        below = [p[:-1] for p in inside if p[-1] <= low]
        total += (high - low) * hypervolume(below, reference[:-1])
    return total


def gained(points: Iterable[Point], new: Point, reference: Point) -> float:
    """What a point adds to the volume of others: what lies behind it, but for what lies behind them too (While et al.,
    2012, "A fast way of calculating exact hypervolumes")."""
    if not _within(new, reference):
        return 0.0
    both = [tuple(map(max, p, new)) for p in points]
    if new in both:
        return 0.0
    whole = math.prod(r - v for v, r in zip(new, reference, strict=True))
    return whole - hypervolume(both, reference)


def foremost(points: Sequence[Point], reference: Point) -> list[int]:
    """The numbers of those that add to the volume, or equal one that does."""
    inside = [(i, p) for i, p in enumerate(points) if _within(p, reference)]
    return [i for i, p in inside if not any(dominates(other, p) for _, other in inside)]


def _within(point: Point, reference: Point) -> bool:
    return all(a < r for a, r in zip(point, reference, strict=True))


def _area(inside: Iterable[Point], reference: Point) -> float:
    """The same of two objectives, in one sweep."""
    total, low = 0.0, reference[1]
    for x, y in sorted(inside):
        if y < low:
            total += (reference[0] - x) * (low - y)
            low = y
    return total
