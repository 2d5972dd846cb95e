"""One codebook for the whole tensor, times a scale for each row."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from netsuke.packer import entropy
from netsuke.packer.block import Array, Form, elements
from netsuke.packer.codecs.base import Codec, Coded
from netsuke.packer.entropy.bits import Cursor, varint

MOST = 64
"""Entries of the codebook besides zero."""
CLOSE = 1e-5
"""How near, relatively, a value lies to an entry times its row's scale."""
FARTHEST = 100
"""Units in the last place that a value may differ from the product."""


class Scaled(Codec):
    """Clustered floats with a scale for each index of the first dimension, pruned or not.

    Written: the number of entries, the entries (float32), a scale a row (float32), the least correction
    plus 128, how many there are less one, bytes of the corrections, the corrections, the symbols. A
    value is entry × scale in float64, rounded to float32, and a correction in units of the last place
    for each entry of each row. One product, rounded once, is the same on every machine (IEEE 754).
    """

    name: ClassVar[str] = "scaled"
    rank: ClassVar[int] = 5

    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        if form.width != 32 or len(form.shape) < 2 or not form.is_whole or form.shape[0] < 2:
            return None
        patterns = elements(raw, form)
        rows = _rows(patterns.view("<f4").reshape(form.shape[0], -1))
        if rows is None or np.any(patterns == 1 << 31):
            return None
        entries = max(rows, key=len)
        factors = _factors(rows, entries)
        if factors is None:
            return None
        tables = _products(entries, factors)
        symbols, corrections = _matched(patterns.reshape(len(rows), -1), tables)
        if symbols is None:
            return None
        least = int(corrections.min())
        span = int(corrections.max()) - least + 1
        coded = entropy.encode((corrections - least).astype(np.uint8).reshape(-1), span, ())
        payload = b"".join(
            [varint(len(entries)), entries.tobytes(), factors.tobytes(),
             bytes([least + 128, span - 1]), varint(len(coded)), coded,
             entropy.encode(symbols.reshape(-1), len(entries) + 1, form.shape)]
        )  # fmt: skip
        return Coded(payload, {}) if len(payload) < limit else None

    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        cursor = Cursor(payload)
        count = cursor.varint()
        if form.width != 32 or len(form.shape) < 2 or not form.is_whole or not 0 < count <= MOST:
            raise ValueError("it has no such rows")
        rows = form.shape[0]
        entries = np.frombuffer(cursor.bytes(4 * count), "<f4")
        factors = np.frombuffer(cursor.bytes(4 * rows), "<f4")
        least, span = cursor.byte() - 128, cursor.byte() + 1
        coded = cursor.bytes(cursor.varint())
        corrections = np.concatenate(list(entropy.decode(coded, span, (), rows * (count + 1))))
        tables = _products(entries, factors).reshape(-1)
        tables += (corrections.astype(np.int64) + least).astype(np.uint32)
        at, length = 0, form.count // rows
        for symbols in entropy.decode(cursor.rest, count + 1, form.shape, form.count):
            row = np.arange(at, at + len(symbols)) // length
            yield tables[row * (count + 1) + symbols].tobytes()
            at += len(symbols)


def _rows(values: Array) -> list[Array] | None:
    """The different non-zero values of each row; None where there are too many, or no numbers."""
    rows = []
    for row in values:
        different = np.unique(row)
        if len(different) > MOST + 1 or not np.isfinite(different).all():
            return None
        rows.append(different[different != 0])
    return rows


def _factors(rows: list[Array], entries: Array) -> Array | None:
    """Each row's scale; None where a row has none."""
    factors = np.ones(len(rows), "<f4")
    for number, row in enumerate(rows):
        factor = _scale(row, entries)
        if factor is None or not len(entries):
            return None
        factors[number] = factor
    return factors


def _scale(row: Array, entries: Array) -> float | None:
    """The factor by which the entries become the row's values; None where there is none."""
    if not len(row):
        return 1.0
    wide, book = row.astype(np.float64), entries.astype(np.float64)
    largest = wide[np.abs(wide).argmax()]
    for factor in largest / book:
        wanted = wide / factor
        near = np.abs(wanted[:, None] - book).min(1)
        if factor > 0 and np.all(near <= CLOSE * np.abs(wanted)):
            return float(factor)
    return None


def _products(entries: Array, factors: Array) -> Array:
    """The bit patterns of zero and of each entry times each row's factor, zero where it ranks."""
    with np.errstate(all="ignore"):
        made = (factors.astype(np.float64)[:, None] * entries.astype(np.float64)).astype("<f4")
    rank = int((entries < 0).sum())
    return np.insert(made, rank, np.float32(0), axis=1).view("<u4")


def _matched(patterns: Array, tables: Array) -> tuple[Array | None, Array]:
    """For each element the nearest entry of its row's table; for each entry of each row what is to be
    added. None where an element is too far, or two values come to one entry."""
    symbols = np.empty(patterns.shape, np.uint8)
    corrections = np.zeros(tables.shape, np.int64)
    for number, (row, table) in enumerate(zip(patterns, tables, strict=True)):
        far = np.abs(row.view("<f4")[:, None].astype(np.float64) - table.view("<f4"))
        chosen = far.argmin(1)
        change = row.astype(np.int64) - table[chosen]
        corrections[number, chosen] = change
        if np.abs(change).max() > FARTHEST or np.any(corrections[number, chosen] != change):
            return None, corrections
        symbols[number] = chosen
    return symbols, corrections
