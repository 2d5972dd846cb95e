"""The walk as points of size, latency and quality, for the plot."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from netsuke.core.evidence import Evidence, find
from netsuke.report.record import Record
from netsuke.report.text import UNKNOWN, shown, source

Found = tuple[Evidence, ...]


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where one artifact stands.

    mark: what the plot writes: a step's number, or nothing. kind: original, kept, undone, left (kept
    on the way, but the final artifact came of another proposal) or final. after: the index of the
    point it was made from, None for the original.
    latency: seconds. change, low, high: of quality against the original, in fractions, negative is
    worse. size: bytes. None is unknown.
    """

    mark: str
    name: str
    kind: str
    after: int | None = None
    latency: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    size: float | None = None

    @property
    def placed(self) -> bool:
        return self.latency is not None and self.change is not None


@dataclass(frozen=True, kw_only=True)
class Walk:
    """The points with what they share.

    what: latency_p50, latency_p95 or cpu_p50. latency_source: "measured here", "estimated for pi4", or
    unknown. Limits are in SI units, None where there is none on that axis.
    """

    points: tuple[Point, ...]
    what: str
    latency_source: str
    latency_limit: float | None = None
    drop_limit: float | None = None
    size_limit: float | None = None

    @property
    def placed(self) -> tuple[Point, ...]:
        return tuple(p for p in self.points if p.placed)


@dataclass(frozen=True, kw_only=True)
class SizeBar:
    """share: the size in % of the largest."""

    mark: str
    name: str
    kind: str
    text: str
    share: float


def walk(record: Record) -> Walk:
    """The run's points. All latencies are of one device and one source: these are never mixed."""
    path = _path(record)
    what = _axis([found for _, found in path], record.budget)
    shared = _shared([found for _, found in path], what, record.device)
    limited = shared is not None and shared.device == record.device
    return Walk(
        points=tuple(_placed(point, found, shared) for point, found in path),
        what=what,
        latency_source=source(shared) if shared else UNKNOWN,
        latency_limit=record.budget.get(what) if limited else None,
        drop_limit=record.budget.get("drop"),
        size_limit=record.budget.get("size"),
    )


def _axis(stages: Sequence[Found], budget: Mapping[str, float]) -> str:
    """The time to plot: the one that is limited, else the median; CPU time where a busy machine left
    more artifacts with that than with a wall-clock time."""
    wall = "latency_p95" if "latency_p95" in budget else "latency_p50"
    if any(e.what == wall and e.source != "measured" for found in stages for e in found):
        return wall
    have = Counter(what for found in stages for what in {e.what for e in found})
    return "cpu_p50" if have["cpu_p50"] > have[wall] else wall


def _path(record: Record) -> list[tuple[Point, Found]]:
    """Every artifact with its evidence, in order; each proposal starts from the original."""
    path = [(Point(mark="", name="original", kind="original"), record.baseline.evidence)]
    reached: dict[int, int] = {}
    chosen = 0
    for number, step in enumerate(record.steps, 1):
        if step.outcome == "refused":
            continue
        kind = "left" if step.outcome == "kept" and not step.final else step.outcome
        after = reached.get(step.proposal, 0)
        path.append(
            (Point(mark=str(number), name=step.name, kind=kind, after=after), step.evidence)
        )
        if step.outcome == "kept":
            reached[step.proposal] = len(path) - 1
        chosen = len(path) - 1 if step.final else chosen
    final = Point(mark="", name="final", kind="final", after=chosen)
    return [*path, (final, record.final.evidence)]


def size_bars(walk: Walk) -> tuple[tuple[SizeBar, ...], float | None]:
    """A bar an artifact, and where the limit stands on their scale (%); None where it is off it."""
    largest = max((p.size for p in walk.points if p.size), default=0.0)
    bars = tuple(
        SizeBar(
            mark=p.mark,
            name=p.name,
            kind=p.kind,
            text=shown(p.size, "B") if p.size is not None else UNKNOWN,
            share=round(100 * p.size / largest, 1) if p.size and largest else 0.0,
        )
        for p in walk.points
    )
    limit = 100 * walk.size_limit / largest if walk.size_limit and largest else None
    return bars, round(limit, 1) if limit is not None and limit <= 100 else None


def missing(walk: Walk) -> tuple[str, ...]:
    """Which artifacts are not in the plot, and why."""
    lines = []
    for point in walk.points:
        lacks = [n for n, v in (("latency", point.latency), ("quality", point.change)) if v is None]
        if lacks:
            lines.append(f"{point.mark} {point.name}: {' and '.join(lacks)} {UNKNOWN}".strip())
    return tuple(lines)


def _shared(stages: Sequence[Found], what: str, device: str) -> Evidence | None:
    """A specimen of the latency most artifacts have; the device asked for wins a tie."""
    specimens = {(e.device, e.source): e for found in stages for e in found if e.what == what}
    count = Counter(
        key for found in stages for key in {(e.device, e.source) for e in found if e.what == what}
    )
    best = max(specimens, key=lambda key: (count[key], key[0] == device, key), default=None)
    return specimens[best] if best else None


def _placed(point: Point, found: Found, shared: Evidence | None) -> Point:
    """The point with its figures."""
    key = (shared.what, shared.device, shared.source) if shared else None
    latency = next((e.value for e in found if (e.what, e.device, e.source) == key), None)
    size, drop = find(found, "size"), find(found, "drop")
    placed = replace(point, latency=latency, size=size.value if size else None)
    if point.kind == "original":
        return replace(placed, change=0.0)  # It is what the others are compared with.
    if drop is None:
        return placed
    placed = replace(placed, change=-drop.value + 0.0)
    if drop.low is None or drop.high is None:
        return placed
    return replace(placed, low=-drop.high + 0.0, high=-drop.low + 0.0)
