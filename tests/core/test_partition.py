"""The placement of segments on devices: the exact best, against all there are."""

import itertools

import numpy as np
import pytest

from netsuke.core.errors import NetsukeError
from netsuke.core.partition import Plan, Route, Row, Seat, Share, best, costs


def drawn(seed: int, segments: int = 6, seats: int = 3, tight: bool = False) -> Row:
    draw = np.random.default_rng(seed)
    weights = draw.integers(1, 10, segments)
    row = tuple(
        Seat(
            name=f"d{k}", seconds=tuple(draw.uniform(0.1, 2, segments)),
            memory=float(weights.sum() * 0.6) if tight else None,
            route=Route(bandwidth=float(draw.uniform(1, 100)), delay=float(draw.uniform(0, 0.3))),
        )
        for k in range(seats)
    )  # fmt: skip
    return Row(
        seats=row, crossing=tuple(draw.uniform(1, 50, segments + 1)),
        takes=lambda start, end: float(weights[start:end].sum()),
        entry=Route(bandwidth=20.0, delay=0.01) if seed % 2 else None,
    )  # fmt: skip


def every(row: Row) -> list[Plan]:
    """All placements there are."""
    plans = []
    for count in range(1, len(row.seats) + 1):
        for seats in itertools.combinations(range(len(row.seats)), count):
            for inner in itertools.combinations(range(1, row.segments), count - 1):
                bounds = (0, *inner, row.segments)
                shares = [
                    Share(s, *b) for s, b in zip(seats, itertools.pairwise(bounds), strict=True)
                ]
                if all(row.fits(s.seat, s.start, s.end) for s in shares):
                    plans.append(costs(row, shares))
    return plans


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("tight", [False, True])
def test_it_is_the_best_of_all(seed: int, tight: bool) -> None:
    row = drawn(seed, tight=tight)
    plans = every(row)
    assert best(row, "latency").latency == pytest.approx(min(p.latency for p in plans))
    assert best(row, "throughput").period == pytest.approx(min(p.period for p in plans))


def test_what_it_says_a_placement_costs_is_what_it_costs() -> None:
    route = Route(bandwidth=100.0, delay=0.5)
    seats = (
        Seat(name="edge", seconds=(1.0, 2.0, 4.0), route=route),
        Seat(name="cloud", seconds=(0.1, 0.2, 0.4)),
    )
    row = Row(seats=seats, crossing=(200.0, 50.0, 10.0, 20.0), takes=lambda start, end: 0.0)
    plan = costs(row, [Share(0, 0, 2), Share(1, 2, 3)])
    assert plan.latency == pytest.approx(1 + 2 + 0.5 + 0.1 + 0.4 + 0.5 + 0.2)
    assert plan.period == pytest.approx(3.0)
    assert costs(row, [Share(1, 0, 3)]).latency == pytest.approx(0.5 + 2 + 0.7 + 0.5 + 0.2)


def test_of_many_under_way_a_slow_link_is_what_counts() -> None:
    seats = tuple(Seat(name=n, seconds=(1.0, 1.0), route=Route(bandwidth=10.0)) for n in "ab")
    narrow = Row(seats=seats, crossing=(0.0, 100.0, 0.0), takes=lambda start, end: 0.0)
    assert best(narrow, "throughput").shares == (Share(0, 0, 2),)
    wide = Row(seats=seats, crossing=(0.0, 5.0, 0.0), takes=lambda start, end: 0.0)
    assert best(wide, "throughput").shares == (Share(0, 0, 1), Share(1, 1, 2))
    assert best(wide, "throughput").period == 1.0


def test_a_segment_that_no_device_holds_is_named_with_what_would() -> None:
    row = drawn(0, tight=True)
    small = Row(
        seats=tuple(Seat(name=s.name, seconds=s.seconds, memory=2.0) for s in row.seats),
        crossing=row.crossing,
        takes=row.takes,
    )
    with pytest.raises(
        NetsukeError, match=r"segment \d of 6 takes 8 B by itself.*a device with 8 B would hold it"
    ):
        best(small, "latency")


def test_too_few_devices_are_named_with_how_many_would_do() -> None:
    seats = tuple(Seat(name=n, seconds=(1.0,) * 5, memory=20.0) for n in "ab")
    row = Row(seats=seats, crossing=(1.0,) * 6, takes=lambda start, end: 10.0 * (end - start))
    with pytest.raises(
        NetsukeError, match=r"takes 50 B, more than a 20 B, b 20 B hold.*; 3 devices of 20 B would"
    ):
        best(row, "latency")
