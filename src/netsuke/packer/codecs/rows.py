"""A table for each row: for channels that differ in bits or in scale."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from netsuke.packer.block import (
    CHUNK,
    Array,
    Form,
    elements,
    pack_bits,
    packed_size,
    raw_bytes,
    unpack_bits,
)
from netsuke.packer.codecs.base import Codec, Coded

MOST = 1 << 16
"""Entries of a row's table, so that their number less one fits in two bytes."""
PROBED = 8
"""Rows looked at before all are sorted, not all of them equally far apart."""


class Rows(Codec):
    """One table for each index of the first dimension, or of the last: pays where channels have
    different bits, or are the same few levels times a scale of their own.

    Written: entries of each table less one (two bytes each), the tables, then the codes of all rows
    of 1 bit, of 2 bits, and so on. settings: ``last``, 1 where rows run along the last dimension.
    """

    name: ClassVar[str] = "rows"
    rank: ClassVar[int] = 3
    fields: ClassVar[tuple[str, ...]] = ("last",)

    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        best = None
        if len(form.shape) < 2 or not form.is_whole or not form.count:
            return None
        values = elements(raw, form)
        for last in (0, 1):
            payload = _written(_matrix(values, form, last), limit)
            if payload is not None:
                best, limit = Coded(payload, {"last": last}), len(payload)
        return best

    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        last = settings["last"]
        if len(form.shape) < 2 or not form.is_whole:
            raise ValueError("it has no rows")
        rows = form.shape[-1 if last else 0]
        counts = np.frombuffer(payload[: 2 * rows], "<u2").astype(np.int64) + 1
        if len(counts) != rows:
            raise ValueError("its counts end early")
        matrix = _read(payload[2 * rows :], counts, form.count // rows, form.dtype)
        yield raw_bytes((matrix.T if last else matrix).reshape(-1), form)


def _matrix(values: Array, form: Form, last: int) -> Array:
    if last:
        return values.reshape(-1, form.shape[-1]).T
    return values.reshape(form.shape[0], -1)


def _written(matrix: Array, limit: int) -> bytes | None:
    """The rows' tables and codes; None where they would take ``limit`` bytes."""
    rows, length = matrix.shape
    if rows < 2:
        return None
    places = np.arange(PROBED) * rows // PROBED
    some = matrix[np.unique(places + np.arange(PROBED) % 2 * (rows // (2 * PROBED)))]
    if _cost(_counts(some), some) * rows > 1.05 * limit * len(some):
        return None
    matrix = np.ascontiguousarray(matrix)
    blocks = range(0, rows, max(1, CHUNK // length))
    runs = [matrix[at : at + blocks.step] for at in blocks]
    counts = np.concatenate([_counts(run) for run in runs])
    if _cost(counts, matrix) >= limit or counts.max() > MOST:
        return None
    coded = [_coded(run) for run in runs]
    codes, bits = np.concatenate([c for _, c in coded]), _bits(counts)
    groups = [pack_bits(codes[bits == b].reshape(-1), b) for b in range(1, 17) if (bits == b).any()]
    payload = b"".join([(counts - 1).astype("<u2").tobytes(), *(t for t, _ in coded), *groups])
    return payload if len(payload) < limit else None


def _coded(run: Array) -> tuple[bytes, Array]:
    """The tables of some rows, and each element's place in its row's."""
    order = np.argsort(run, axis=1, kind="stable")
    rising = np.take_along_axis(run, order, 1)
    first = _firsts(rising)
    codes = np.empty(run.shape, np.uint16)
    np.put_along_axis(codes, order, (np.cumsum(first, 1) - 1).astype(np.uint16), 1)
    return rising[first].tobytes(), codes


def _read(payload: memoryview, counts: Array, length: int, dtype: np.dtype[np.unsignedinteger]) -> Array:  # fmt: skip
    bits, starts = _bits(counts), np.cumsum(counts) - counts
    at = int(counts.sum()) * dtype.itemsize
    sizes = {b: packed_size(int((bits == b).sum()) * length, b) for b in range(1, 17)}
    if len(payload) != at + sum(sizes.values()):
        raise ValueError("its length is not that of its tables and codes")
    tables = np.frombuffer(payload[:at], dtype)
    matrix: Array = np.empty((len(counts), length), dtype)
    matrix[bits == 0] = tables[starts[bits == 0], None]
    for b, size in sizes.items():
        mine = np.flatnonzero(bits == b)
        codes = unpack_bits(payload[at : at + size], b, len(mine) * length).astype(np.int64)
        matrix[mine] = tables[starts[mine, None] + codes.reshape(len(mine), length)]
        at += size
    return matrix


def _firsts(rising: Array) -> Array:
    """Where a row's value is not the one before it."""
    first = np.ones(rising.shape, bool)
    first[:, 1:] = rising[:, 1:] != rising[:, :-1]
    return first


def _counts(run: Array) -> Array:
    """How many distinct values each row has."""
    counts: Array = _firsts(np.sort(run, axis=1)).sum(1, dtype=np.int64)
    return counts


def _bits(counts: Array) -> Array:
    """Bits of each row's codes."""
    return np.ceil(np.log2(counts)).astype(np.int64)


def _cost(counts: Array, matrix: Array) -> float:
    """Bytes of the rows as written, but for the last bits of each group."""
    codes = float((_bits(counts) * matrix.shape[1]).sum()) / 8
    return 2 * len(counts) + float(counts.sum()) * matrix.itemsize + codes
