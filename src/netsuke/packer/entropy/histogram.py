"""How often each symbol occurs, in few bytes: logarithms, and of a smooth table only some of them.

A table is written as the logarithm of each frequency to 1, 1/2, 1/4 or 1/8 of an octave, or of every
second, 4th, ... symbol with straight lines between: a line of logarithms is a Laplace distribution, a
few of them come close to any bell. The most frequent symbol has its own, for the zeros of a pruned
tensor. Whichever makes table and codes together shortest is written.
"""

from typing import NamedTuple

import numpy as np

from netsuke.packer.block import Array
from netsuke.packer.entropy.bits import Cursor, rice, rice_size
from netsuke.packer.entropy.coder import TOTAL

OCTAVES = 12
"""From the least frequency to the largest."""
FINEST = 8
EIGHTHS = np.array([256, 279, 304, 332, 362, 395, 431, 470])
"""256 × 2^(k/8), rounded: the only powers that are not of 2."""
SHAPES = [(1, 1), (2, 1), (4, 1), (2, 2), (2, 4), (4, 4), (2, 8), (4, 8), (2, 16)]
FINE = [(FINEST, 1), (4, 1), (FINEST, 4)]
"""Steps an octave and symbols between written ones, tried for short tensors and for long ones."""
LONG = 20_000
RICE = 4
"""Parameters of the Rice code that are tried."""


class Table(NamedTuple):
    """One table as written. frequencies: of each symbol; they add up to TOTAL."""

    content: bytes
    frequencies: Array


def flat(symbols: int) -> Array:
    """Frequencies of symbols that are all alike."""
    return _scaled(np.full(symbols, 256, np.int64))


def write(counts: Array) -> Table:
    """The table for symbols that occur so often."""
    centre = int(counts.argmax())
    shapes = FINE if counts.sum() > LONG else SHAPES
    fitting = [(steps, gap) for steps, gap in shapes if gap == 1 or gap * 2 <= len(counts)]
    drafts = [_drafted(counts, steps, centre if gap > 1 else None, gap) for steps, gap in fitting]
    return min(drafts, key=lambda draft: draft.cost).table()


def read(cursor: Cursor, symbols: int) -> Array:
    """Frequencies as ``write`` wrote them. Raises ValueError or IndexError where there are none."""
    head = cursor.byte()
    steps, gap, parameter = 1 << (head & 3), 1 << (head >> 2 & 7), head >> 5
    if gap > symbols and gap > 1:
        raise ValueError("its table is coarser than its symbols are many")
    knots = _knots(symbols, gap)
    centre = cursor.byte() if gap > 1 else None
    changes = cursor.rice(len(knots) + (centre is not None), parameter)
    return _frequencies(np.cumsum(changes) + OCTAVES * steps, symbols, (steps, gap, centre))


class _Draft(NamedTuple):
    """A table that may be written. head: bytes before the changes from one logarithm to the next."""

    head: bytes
    changes: Array
    parameter: int
    frequencies: Array
    cost: float

    def table(self) -> Table:
        return Table(self.head + rice(self.changes.tolist(), self.parameter), self.frequencies)


def _drafted(counts: Array, steps: int, peak: int | None, gap: int) -> _Draft:
    levels = _levels(counts, steps, gap, peak)
    changes = np.diff(levels, prepend=OCTAVES * steps)
    parameter = min(range(RICE), key=lambda k: rice_size(changes, k))
    head = [steps.bit_length() - 1 | (gap.bit_length() - 1) << 2 | parameter << 5]
    frequencies = _frequencies(levels, len(counts), (steps, gap, peak))
    size = len(head) + rice_size(changes, parameter) + (peak is not None)
    cost = size + coded_size(counts, frequencies)
    return _Draft(
        bytes(head if peak is None else [*head, peak]), changes, parameter, frequencies, cost
    )


def coded_size(counts: Array, frequencies: Array) -> float:
    """Bytes of symbols that occur so often, by these frequencies."""
    there = counts > 0
    with np.errstate(divide="ignore"):
        return float((counts[there] * -np.log2(frequencies[there] / TOTAL)).sum()) / 8


def _levels(counts: Array, steps: int, gap: int, peak: int | None) -> Array:
    """The logarithms that are written: 1 for what hardly occurs, OCTAVES × steps for the most."""
    smooth = counts.astype(np.float64)
    if peak is not None:
        smooth[peak] = (smooth[max(0, peak - 1)] + smooth[min(len(counts) - 1, peak + 1)]) / 2
        padded = np.pad(smooth, gap // 2, mode="edge")
        smooth = np.convolve(padded, np.ones(gap + 1) / (gap + 1), "valid")
    chosen = smooth[_knots(len(counts), gap)]
    if peak is not None:
        chosen = np.append(chosen, counts[peak])
    top = max(chosen.max(), 1.0)
    with np.errstate(divide="ignore"):
        octaves = np.log2(np.maximum(chosen, top * 2.0**-OCTAVES) / top)
    levels: Array = np.maximum(1, OCTAVES * steps + np.rint(octaves * steps)).astype(np.int64)
    return levels


def _frequencies(levels: Array, symbols: int, shape: tuple[int, int, int | None]) -> Array:
    """From logarithms to frequencies, in whole numbers alone."""
    steps, gap, peak = shape
    if levels.min() < 1 or levels.max() > OCTAVES * steps:
        raise ValueError("its table is out of range")
    knots = _knots(symbols, gap)
    known = levels if peak is None else levels[:-1]
    place = np.arange(symbols)
    left = np.minimum(place // gap, len(knots) - 1)
    right = np.minimum(left + 1, len(knots) - 1)
    wide = np.maximum(knots[right] - knots[left], 1)
    part = place - knots[left]
    line = (known[left] * (wide - part) + known[right] * part + wide // 2) // wide
    if peak is not None:
        line[peak] = levels[-1]
    octave, fraction = np.divmod(line, steps)
    return _scaled(EIGHTHS[fraction * (FINEST // steps)] << octave)


def _scaled(weights: Array) -> Array:
    """Whole numbers in these proportions, none 0, that add up to TOTAL."""
    found: Array = np.maximum(1, weights * TOTAL // weights.sum())
    while (left := TOTAL - int(found.sum())) != 0:
        most = int(found.argmax())
        found[most] += left if left > 0 else -min(-left, int(found[most]) // 4)
    return found


def _knots(symbols: int, gap: int) -> Array:
    """Symbols whose logarithm is written: every ``gap``-th, and the last."""
    knots = np.arange(0, symbols, gap)
    return knots if knots[-1] == symbols - 1 else np.append(knots, symbols - 1)
