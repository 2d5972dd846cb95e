"""Bits for each layer by an integer program: the least harm within a limit. Needs no torch.

(HAWQ-V3: Yao et al., 2021.)
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from netsuke.core.errors import NetsukeError

Matrix = NDArray[np.float64]
SLACK = 1e-9
"""What sums of floats may be over the limit, as a share of the largest cost."""


def allocate(harms: Matrix, costs: Matrix, limit: float) -> tuple[int, ...]:
    """One choice for each layer: the least sum of harms whose costs sum to ``limit`` at most.

    harms, costs: (layers, choices); a harm that is not finite rules its choice out. Solved to
    optimality by scipy's HiGHS. Raises NetsukeError where even the cheapest choices cost more than
    the limit; it says how much.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    allowed = np.isfinite(harms)
    least = float(np.where(allowed, costs, np.inf).min(axis=1).sum())
    slack = SLACK * max(float(np.abs(costs).max()), 1e-300)
    if least > limit + slack:
        raise NetsukeError(
            f"allocate: a limit of {limit:,.6g} cannot be met; the cheapest choice of every layer"
            f" comes to {least:,.6g}"
        )
    layers, choices = harms.shape
    finite = np.where(allowed, harms, 0.0)
    # Scaled to 1, so that the solver's absolute tolerances mean the same for every problem.
    goal = (finite / max(np.abs(finite).max(), 1e-300)).ravel()
    one_each = np.kron(np.eye(layers), np.ones(choices))
    unit = slack / SLACK
    spent = LinearConstraint(costs.ravel()[None] / unit, -np.inf, (limit + slack) / unit)
    with _quiet():
        found = milp(
            goal,
            integrality=np.ones(goal.size),
            bounds=Bounds(0, allowed.ravel().astype(float)),
            constraints=[LinearConstraint(one_each, 1, 1), spent],
            options={"mip_rel_gap": 0.0},
        )
    if found.x is None:
        raise NetsukeError(f"allocate: the integer program was not solved: {found.message}")
    return tuple(int(i) for i in found.x.reshape(layers, choices).argmax(1))


@contextmanager
def _quiet() -> Iterator[None]:
    """HiGHS prints messages of its own to file descriptor 1, where ``--json`` writes."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def frontier(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Which of (cost, quality) no other beats in both, by rising cost: the Pareto curve."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    kept: list[int] = []
    for i in order:
        if not kept or points[i][1] > points[kept[-1]][1]:
            kept.append(i)
    return tuple(kept)
