"""Which planes and contexts make a tensor shortest."""

from typing import NamedTuple

import numpy as np

from netsuke.packer.block import Array
from netsuke.packer.entropy.contexts import (
    FLAT,
    TAPS,
    Buckets,
    Layout,
    arranged,
    fitting,
    layout,
    magnitudes,
    means,
)

SAMPLE = 1 << 14
"""Symbols by which planes and contexts are chosen."""
SPLITS = (6, 3, 12)
"""Numbers of contexts that are tried; the last where there are many symbols."""
HALF_A_UNIT = 0.09
"""Half a natural unit of information, in bytes."""
WORTH = 0.995
"""Contexts take time: they have to save this much."""


class Plan(NamedTuple):
    """How symbols are written. edges, first: of the contexts (see ``Buckets``). centre: the symbol of
    magnitude 0."""

    layout: Layout
    edges: list[int]
    first: int
    centre: int

    def buckets(self, alphabet: int) -> Buckets:
        return Buckets(self.edges, self.first, alphabet)


def choose(symbols: Array, counts: Array, shape: tuple[int, ...]) -> Plan:
    """The best plan, judged by a sample where there are many symbols."""
    count, centre = len(symbols), int(counts.argmax())
    best, least = Plan(layout(FLAT, shape, count), [], 0, centre), WORTH
    if np.count_nonzero(counts) < 2:
        return best
    for kind in fitting(shape, count):
        whole = layout(kind, shape, count)
        part, ordered = _sample(arranged(symbols, whole), whole)
        known = list(means(ordered, part, magnitudes(centre, len(counts))))
        scale = count / len(ordered)
        alone = _cost(np.bincount(ordered, minlength=len(counts))[None], scale)
        for edges in _edges(np.concatenate(known[1:]) if known[1:] else known[0]):
            plans = [
                Plan(whole, edges, first, centre) for first in (len(edges) // 2, len(edges) + 1)
            ]
            costs = [
                _trial(ordered, (known, part), plan, len(counts), scale) / alone for plan in plans
            ]
            if min(costs) < least:
                best, least = plans[costs[1] < costs[0]], min(costs)
            elif min(costs) > 1:
                break
    return best


def _trial(
    ordered: Array, known: tuple[list[Array], Layout], plan: Plan, alphabet: int, scale: float
) -> float:
    contexts = contexts_of(*known, plan.buckets(alphabet))
    return _cost(by_context(ordered, contexts, alphabet), scale)


def contexts_of(known: list[Array], plan: Layout, buckets: Buckets) -> Array:
    """Each symbol's context, from the means before each plane."""
    planes = zip(known, plan.runs, strict=True)
    return np.concatenate([buckets.of(mean, n, run) for n, (mean, run) in enumerate(planes)])


def by_context(symbols: Array, contexts: Array, alphabet: int) -> Array:
    """How often each symbol occurs in each context."""
    number = int(contexts.max()) + 1
    cells = symbols + contexts.astype(np.uint16) * np.uint16(alphabet)
    return np.bincount(cells, minlength=number * alphabet).reshape(number, alphabet)


def _sample(ordered: Array, whole: Layout) -> tuple[Layout, Array]:
    """Some of the columns of each tap, or the first of the rows; all of what is short."""
    if len(ordered) <= 2 * SAMPLE:
        return whole, ordered
    if whole.kind == TAPS:
        columns = max(1, SAMPLE // whole.rows)
        part = ordered.reshape(whole.rows, whole.columns)[:, :columns]
        return whole._replace(columns=columns), part.reshape(-1)
    rows = max(2 * whole.block, SAMPLE // whole.columns)
    rows = min(rows, whole.rows)
    return whole._replace(rows=rows), ordered[: rows * whole.columns]


def _edges(known: Array) -> list[list[int]]:
    """Edges that split the means into groups of one size, for each number of groups; from finer ones
    where most are the same."""
    found = []
    for split in SPLITS if len(known) > SAMPLE else SPLITS[:-1]:
        places = np.arange(1, split) * len(known) // split
        edges = np.unique(np.partition(known, places)[places])
        found.append([int(edge) for edge in edges if edge > known.min()])
    if (known == 0).mean() > 0.5 and known.any():
        rare = np.quantile(known[known > 0], (0.5, 0.8)).astype(int)
        found.append([1, *(int(edge) for edge in np.unique(rare) if edge > 1)])
    return [edges for edges in found if edges]


def _cost(counts: Array, scale: float) -> float:
    """Bytes of the symbols of each context at their entropy, and of the tables, about."""
    there = counts > 0
    totals = np.broadcast_to(counts.sum(1, keepdims=True), counts.shape)
    bits = counts[there] * np.log2(totals[there] / counts[there])
    seen = there.sum(1)
    # A sample looks better than the rest is: by half a natural unit for each symbol seen.
    beyond = HALF_A_UNIT * float(seen.sum()) * (scale - 1)
    # A short table holds each logarithm; a long one is smooth, and then the codes are longer.
    tables = np.minimum(0.45 * seen, 10 + 0.15 * seen)
    return float(bits.sum()) * scale / 8 + beyond + float(tables.sum())
