"""What the symbols before tell about the next one: how large their neighbours were.

A tensor is read in planes, one after the other, and each place of a plane (a column) is judged by the
mean magnitude of what the planes before had there. Planes are the taps of the convolution's kernels
(a kernel's weights are large together), or rows, or columns (an input that is used little is used
little by every neuron). A pruned tensor tells in this way where it is dense. Whole numbers alone.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from netsuke.packer.block import Array

FLAT, TAPS, ROWS, COLUMNS = range(4)
WINDOW = 16
"""Planes that a column's mean reaches back, about."""
SHARP = 6
"""Bits of a mean beyond the point."""
LEAST = 1 << 10
"""Symbols of a plane, at least, so that numpy pays."""


class Layout(NamedTuple):
    """A tensor read in planes. kind: FLAT, TAPS, ROWS or COLUMNS. rows, columns: of the matrix that it
    is read as, row by row. block: rows of a plane."""

    kind: int
    rows: int
    columns: int
    block: int

    @property
    def runs(self) -> list[int]:
        """Symbols of each plane."""
        whole, left = divmod(self.rows, self.block)
        return [self.block * self.columns] * whole + [left * self.columns] * bool(left)


def layout(kind: int, shape: tuple[int, ...], count: int) -> Layout:
    """How a tensor of this shape is read. Raises ValueError where it cannot be."""
    if kind == FLAT:
        return Layout(kind, 1, count, 1)
    if kind not in fitting(shape, count):
        raise ValueError("its shape has no such planes")
    taps = math.prod(shape[2:])
    rows = {TAPS: taps, ROWS: shape[0], COLUMNS: shape[-1]}[kind]
    columns = count // rows
    return Layout(kind, rows, columns, 1 if kind == TAPS else -(-LEAST // columns))


def fitting(shape: tuple[int, ...], count: int) -> list[int]:
    """The kinds of planes that a tensor of this shape has, FLAT apart."""
    if len(shape) < 2 or math.prod(shape) != count or not count:
        return []
    kinds = [TAPS] if math.prod(shape[2:]) > 1 else []
    kinds += [ROWS] if shape[0] > 1 else []
    return kinds + ([COLUMNS] if len(shape) == 2 and shape[1] > 1 else [])


def arranged(symbols: Array, plan: Layout) -> Array:
    """Symbols in the order in which they are read."""
    if plan.kind in (FLAT, ROWS):
        return symbols
    return np.ascontiguousarray(symbols.reshape(plan.columns, plan.rows).T).reshape(-1)


def restored(symbols: Array, plan: Layout) -> Array:
    """The opposite of ``arranged``, for all of a tensor."""
    return np.ascontiguousarray(symbols.reshape(plan.rows, plan.columns).T).reshape(-1)


class Means:
    """The mean magnitude in each column so far. magnitudes: of each symbol."""

    def __init__(self, plan: Layout, magnitudes: Array) -> None:
        self._plan, self._sizes = plan, (magnitudes << SHARP).astype(np.int32)
        self._planes = 0
        self.values = np.zeros(plan.columns, np.int32)

    def add(self, plane: Array) -> None:
        """Take a plane in."""
        sizes = self._sizes.take(plane).reshape(-1, self._plan.columns)
        mean = sizes[0] if len(sizes) == 1 else sizes.sum(0, dtype=np.int32) // np.int32(len(sizes))
        self._planes += 1
        self.values += (mean - self.values) // np.int32(min(self._planes, WINDOW))


def means(symbols: Array, plan: Layout, magnitudes: Array) -> Iterator[Array]:
    """For each plane, the means before it, of each column."""
    so_far, start = Means(plan, magnitudes), 0
    for run in plan.runs:
        yield so_far.values.copy()
        so_far.add(symbols[start : start + run])
        start += run


def magnitudes(centre: int, alphabet: int) -> Array:
    """How far each symbol is from the one that is most frequent, which is a pruned tensor's zero."""
    return np.abs(np.arange(alphabet) - centre)


class Buckets:
    """Means to contexts. edges: rising; a mean's context is the number of edges at or below it.
    first: the context of the first plane, which nothing is known about; at most one beyond."""

    def __init__(self, edges: list[int], first: int, largest: int) -> None:
        if any(a >= b for a, b in pairwise(edges)) or first > len(edges) + 1:
            raise ValueError("its contexts do not rise")
        self._first = first
        self.contexts = max(len(edges), first) + 1
        known = np.arange((largest << SHARP) + 1)
        self._of = np.searchsorted(np.array(edges, np.int64), known, "right").astype(np.uint8)

    def of(self, values: Array, planes: int, run: int) -> Array:
        """The context of each symbol of a plane of ``run`` symbols, so many planes being known."""
        if not planes:
            return np.full(run, self._first, np.uint8)
        found = self._of.take(values)
        return np.broadcast_to(found, (run // len(found), len(found))).reshape(-1)
