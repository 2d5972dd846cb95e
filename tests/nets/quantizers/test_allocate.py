"""Bits by an integer program, against trying everything."""

import itertools

import numpy as np
import pytest

from netsuke.core.errors import NetsukeError
from netsuke.nets.quantizers.allocate import allocate, frontier


def everything(harms: np.ndarray, costs: np.ndarray, limit: float) -> float:
    """The least harm of all combinations within the limit."""
    rows = range(len(harms))
    return min(
        sum(harms[r, c] for r, c in zip(rows, each, strict=True))
        for each in itertools.product(range(harms.shape[1]), repeat=len(harms))
        if sum(costs[r, c] for r, c in zip(rows, each, strict=True)) <= limit
    )


@pytest.mark.parametrize("seed", range(12))
def test_it_finds_the_best_of_all_combinations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    harms = -np.sort(-rng.exponential(10.0 ** rng.integers(-8, 3), (5, 4)))
    costs = rng.integers(1, 1000, (5, 1)) * np.arange(2.0, 6.0)
    limit = float(rng.uniform(costs[:, 0].sum(), costs[:, -1].sum()))
    picked = allocate(harms, costs, limit)
    spent = sum(costs[r, c] for r, c in enumerate(picked))
    assert spent <= limit * (1 + 1e-6)
    assert sum(harms[r, c] for r, c in enumerate(picked)) == pytest.approx(
        everything(harms, costs, limit), rel=1e-6
    )


def test_a_choice_without_a_finite_harm_is_never_made() -> None:
    harms = np.array([[np.inf, 1.0], [5.0, np.inf]])
    assert allocate(harms, np.array([[0.0, 9.0], [0.0, 0.0]]), 10.0) == (1, 0)


def test_a_limit_that_just_fits_is_met() -> None:
    costs = np.full((10, 1), 0.1)
    assert allocate(np.ones((10, 1)), costs, 1.0) == (0,) * 10


def test_a_limit_that_cannot_be_met_is_an_error_with_the_least_cost() -> None:
    with pytest.raises(NetsukeError, match="limit of 3 cannot be met.* comes to 4"):
        allocate(np.ones((2, 2)), np.array([[2.0, 3.0], [2.0, 3.0]]), 3.0)


def test_the_frontier_leaves_out_what_another_point_beats() -> None:
    points = [(3.0, 0.7), (1.0, 0.5), (2.0, 0.4), (3.0, 0.8), (4.0, 0.8)]
    assert frontier(points) == (1, 3)
