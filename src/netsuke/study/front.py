"""What no other trial beats in everything: the front, its volume, and what is taken from it."""

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
    inside = [p for p in points if all(a < r for a, r in zip(p, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - min(p[0] for p in inside)
    total, edges = 0.0, sorted({p[-1] for p in inside})
    for low, high in zip(edges, [*edges[1:], reference[-1]], strict=True):
        below = [p[:-1] for p in inside if p[-1] <= low]
        total += (high - low) * hypervolume(below, reference[:-1])
    return total
