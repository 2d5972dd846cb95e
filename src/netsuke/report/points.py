"""The walk as points of size, latency and quality, for the plot."""

from collections.abc import Iterable
from dataclasses import dataclass

from netsuke.core.evidence import Evidence, find
from netsuke.report.record import Record
from netsuke.report.text import UNKNOWN, Metric, fact, shown

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where one artifact stands.

    mark: "" for the original, a step's number, or "final". kind: original, kept, undone, final.
    latency: seconds; change, low, high: of quality against the original, fractions, negative is
    worse. None is unknown.
    """

    mark: str
    name: str
    kind: str
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
    """The points with what is common to them. latency_source: ``measured here`` or the like."""

    points: tuple[Point, ...]
    latency_source: str
    latency_limit: float | None
    drop_limit: float | None
    size_limit: float | None

    @property
    def placed(self) -> tuple[Point, ...]:
        return tuple(p for p in self.points if p.placed)

    @property
    def drawable(self) -> bool:
        return len(self.placed) > 1


@dataclass(frozen=True, kw_only=True)
class SizeBar:
    """share: of the largest, in %; limit_at: where the limit stands on the same scale, or None."""

    mark: str
    name: str
    kind: str
    text: str
    share: float


def walk(record: Record) -> Walk:
    """The run's points. All latencies are of one device and one source, never mixed."""
    stages = [record.baseline.evidence, *(s.evidence for s in record.steps), record.final.evidence]
    device, source = _common(stages, record.device)
    there = [f"{source} here" if device == "local" else f"{source} for {device}"]
    points = [_point("", "original", "original", record.baseline.evidence, (device, source))]
    points += [
        _point(str(n), step.name, step.outcome, step.evidence, (device, source))
        for n, step in enumerate(record.steps, 1)
        if step.outcome != "refused"
    ]
    points.append(_point("final", "final", "final", record.final.evidence, (device, source)))
    return Walk(
        points=tuple(points),
        latency_source=there[0],
        latency_limit=None,
        drop_limit=record.budget.get("drop"),
        size_limit=record.budget.get("size"),
    )


def size_bars(walk: Walk) -> tuple[tuple[SizeBar, ...], float | None]:
    """A bar for each artifact, and where the limit stands on their scale (%), None where it is off it."""
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


def missing(walk: Walk, metric: Metric) -> tuple[str, ...]:
    """Why a point is not in the plot, a line each."""
    lines = []
    for point in walk.points:
        lacks = [n for n, v in (("latency", point.latency), (metric.name, point.change)) if v is None]
        if lacks:
            mark = f"{point.mark} " if point.mark and point.mark != point.name else ""
            lines.append(f"{mark}{point.name}: {' and '.join(lacks)} {UNKNOWN}")
    return tuple(lines)
