"""Which device computes which stretch of a network: the exact best, by dynamic programming over its cuts.

A network is a row of segments with a cut between each two and before the first, where the input comes in. Devices stand
in a row too, and each takes some segments that follow each other, or none. With n segments and m devices the best of
all such placements is found in O(n² m²) steps (Bellman, 1957; for pipelines of devices Hu et al., EdgePipe, 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from netsuke.core.errors import NetsukeError
from netsuke.core.quantity import show

Objective = Literal["throughput", "latency"]


@dataclass(frozen=True, kw_only=True)
class Route:
    """What lies between a place and the next one. bandwidth: bytes a second. delay: seconds one way."""

    bandwidth: float
    delay: float = 0.0

    def seconds(self, size: float) -> float:
        return self.delay + size / self.bandwidth


@dataclass(frozen=True, kw_only=True)
class Seat:
    """A device of the row. seconds: of each segment on it. memory: the most bytes that what runs on it may take, None
    for any. route: to the next of the row; for the last one unused."""

    name: str
    seconds: tuple[float, ...]
    memory: float | None = None
    route: Route = Route(bandwidth=float("inf"))


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is to be placed. crossing: bytes at each cut, that before the first segment first; one more than segments:
    the last is the answer. takes: bytes of memory of the segments from … up to …. entry: how a request gets to the first
    device; None where it arises there."""

    seats: tuple[Seat, ...]
    crossing: tuple[float, ...]
    takes: Callable[[int, int], float]
    entry: Route | None = None

    @property
    def segments(self) -> int:
        return len(self.crossing) - 1

    def work(self, seat: int, start: int, end: int) -> float:
        """Seconds of these segments there."""
        return sum(self.seats[seat].seconds[start:end])

    def way(self, first: int, second: int, size: float) -> float:
        """Seconds that so many bytes take from one device to another further on."""
        return sum(self.seats[k].route.seconds(size) for k in range(first, second))

    def narrowest(self, first: int, second: int, size: float) -> float:
        """Seconds between two of many such loads on that way, one behind the other."""
        loads = (size / self.seats[k].route.bandwidth for k in range(first, second))
        return max(loads, default=0.0)

    def fits(self, seat: int, start: int, end: int) -> bool:
        most = self.seats[seat].memory
        return most is None or self.takes(start, end) <= most


@dataclass(frozen=True)
class Share:
    """What one device computes: segments from start up to end. seat: its place in the row."""

    seat: int
    start: int
    end: int


@dataclass(frozen=True)
class Plan:
    """shares: in order, of devices that compute something. latency: seconds of one request, alone. period: seconds
    between answers when many are under way."""

    shares: tuple[Share, ...]
    latency: float
    period: float


def best(row: Row, objective: Objective) -> Plan:
    """The placement with the shortest period, or the shortest latency.

    Raises NetsukeError where no device can hold a segment, saying what would fit.
    """
    score = _period_first if objective == "throughput" else _latency_first
    # Best way to have the segments up to ``end`` done, the last of them on ``seat``.
    found: dict[tuple[int, int], Plan] = {}
    for seat in range(len(row.seats)):
        for end in range(1, row.segments + 1):
            options = [plan for start in range(end) if row.fits(seat, start, end)
                       for plan in _ways(row, found, Share(seat, start, end))]  # fmt: skip
            if options:
                found[seat, end] = min(options, key=score)
    whole = [_answered(row, plan) for (_, end), plan in found.items() if end == row.segments]
    if not whole:
        raise NetsukeError(_too_small(row))
    return min(whole, key=score)


def costs(row: Row, shares: Sequence[Share]) -> Plan:
    """A given placement's latency and period."""
    plan = _first(row, shares[0])
    for share in shares[1:]:
        plan = _joined(row, plan, share)
    return _answered(row, plan)


def _ways(row: Row, found: dict[tuple[int, int], Plan], share: Share) -> list[Plan]:
    """Every best beginning with this share behind it."""
    if share.start == 0:
        return [_first(row, share)]
    before = [
        found[seat, share.start] for seat in range(share.seat) if (seat, share.start) in found
    ]
    return [_joined(row, plan, share) for plan in before]


def _first(row: Row, share: Share) -> Plan:
    size, work = row.crossing[0], row.work(share.seat, share.start, share.end)
    entry = row.entry.seconds(size) if row.entry else 0.0
    load = size / row.entry.bandwidth if row.entry else 0.0
    latency = entry + row.way(0, share.seat, size) + work
    return Plan((share,), latency, max(load, row.narrowest(0, share.seat, size), work))


def _joined(row: Row, plan: Plan, share: Share) -> Plan:
    last, size = plan.shares[-1].seat, row.crossing[share.start]
    work = row.work(share.seat, share.start, share.end)
    latency = plan.latency + row.way(last, share.seat, size) + work
    period = max(plan.period, row.narrowest(last, share.seat, size), work)
    return Plan((*plan.shares, share), latency, period)


def _answered(row: Row, plan: Plan) -> Plan:
    """With the way of the answer back to where the request came from."""
    last, size = plan.shares[-1].seat, row.crossing[-1]
    back = row.way(0, last, size) + (row.entry.seconds(size) if row.entry else 0.0)
    return Plan(plan.shares, plan.latency + back, plan.period)


def _period_first(plan: Plan) -> tuple[float, float]:
    return plan.period, plan.latency


def _latency_first(plan: Plan) -> tuple[float, float]:
    return plan.latency, plan.period


def _too_small(row: Row) -> str:
    """What is wrong where nothing fits: a segment that no device holds, or too few devices."""
    most = max(seat.memory or float("inf") for seat in row.seats)
    single = [row.takes(i, i + 1) for i in range(row.segments)]
    place = max(range(row.segments), key=single.__getitem__)
    if single[place] > most:
        return (
            f"shard: segment {place + 1} of {row.segments} takes {show(single[place], 'B')} by itself, and no device has "
            f"more than {show(most, 'B')} for it; a device with {show(single[place], 'B')} would hold it"
        )
    held = ", ".join(f"{s.name} {show(s.memory or 0, 'B')}" for s in row.seats)
    more = next(n for n in range(len(row.seats) + 1, row.segments + 2) if _holds(row, n, most))
    return (
        f"shard: the network takes {show(row.takes(0, row.segments), 'B')}, more than {held} hold one after the other; "
        f"{more} devices of {show(most, 'B')} would"
    )


def _holds(row: Row, devices: int, most: float) -> bool:
    """Whether so many devices of that memory hold all, each taking as much as it can."""
    start = 0
    for _ in range(devices):
        fits = partial(_within, row, start, most)
        start = max(filter(fits, range(start, row.segments + 1)))
    return start == row.segments


def _within(row: Row, start: int, most: float, end: int) -> bool:
    return end == start or row.takes(start, end) <= most
