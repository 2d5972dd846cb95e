"""The front, and its volume."""

import itertools
import random

import pytest

from netsuke.study.front import Found, dominates, foremost, front, gained, hypervolume


def found(number: int, *values: float, over: float = 0.0) -> Found:
    return Found(number, "", dict(zip("abc", values, strict=False)), over, "")


def test_only_what_nothing_beats_stays_and_equals_once() -> None:
    given = [found(0, 1, 5), found(1, 2, 2), found(2, 2, 3), found(3, 5, 1), found(4, 2, 2)]
    assert [f.number for f in front(given, "ab")] == [0, 1, 3]


def test_beyond_a_limit_nothing_counts() -> None:
    assert [f.number for f in front([found(0, 1, 1, over=0.1), found(1, 2, 2)], "ab")] == [1]


def test_volumes_known_by_hand() -> None:
    assert hypervolume([(1.0,), (2.0,)], (4.0,)) == 3
    assert hypervolume([(1.0, 3.0), (2.0, 1.0)], (4.0, 4.0)) == pytest.approx(3 * 1 + 2 * 3 - 2 * 1)
    assert hypervolume([(0.0, 0.0, 0.0)], (1.0, 2.0, 3.0)) == 6
    assert hypervolume([(5.0, 0.0)], (4.0, 4.0)) == 0
    assert hypervolume([], (1.0, 1.0)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_volume_is_that_of_boxes_counted(seed: int) -> None:
    draw = random.Random(seed)
    points = [tuple(float(draw.randrange(6)) for _ in range(3)) for _ in range(8)]
    boxes = sum(
        any(all(p <= c for p, c in zip(point, cell, strict=True)) for point in points)
        for cell in itertools.product(range(6), repeat=3)
    )
    assert hypervolume(points, (6.0, 6.0, 6.0)) == boxes


def test_what_is_equal_dominates_nothing() -> None:
    assert not dominates((1.0, 1.0), (1.0, 1.0))
    assert dominates((1.0, 1.0), (1.0, 2.0))
    assert not dominates((0.0, 3.0), (1.0, 2.0))


@pytest.mark.parametrize("sides", [1, 2, 3, 4])
def test_what_a_point_adds_is_the_difference_of_volumes(sides: int):
    chance, reference = random.Random(sides), (1.0,) * sides
    for _ in range(200):
        count = chance.randint(0, 8)
        # few values, so that points share some and lie behind each other
        points = [
            tuple(chance.choice((0.2, 0.5, 0.8, 1.0, 1.3)) for _ in reference) for _ in range(count)
        ]
        new = tuple(chance.choice((0.1, 0.2, 0.6, 0.8, 1.1)) for _ in reference)
        whole = hypervolume(points, reference)
        added = hypervolume([*points, new], reference) - whole
        assert gained(points, new, reference) == pytest.approx(added, abs=1e-12)
        ahead = foremost(points, reference)
        assert hypervolume([points[i] for i in ahead], reference) == pytest.approx(whole)
        for i in ahead:
            left = [p for p in points if p != points[i]]
            assert hypervolume(left, reference) < whole
