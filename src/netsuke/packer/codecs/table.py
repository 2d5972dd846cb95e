"""A table of the distinct values, and for each element its place in the table."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from netsuke.packer.block import (
    CHUNK,
    Array,
    Form,
    bits_for,
    elements,
    pack_bits,
    packed_size,
    raw_bytes,
    unpack_bits,
)
from netsuke.packer.codecs.base import Codec, Coded

MOST = 1 << 16
"""Entries of a table."""
FEW, DENSE = 4096, 3000
"""A long block is taken to have too many different values where so many of so few differ."""


class Table(Codec):
    """One table for the whole tensor: a 3-bit weight costs 3 bits, whatever type holds it in the
    ONNX file, and a codebook of 16 entries 4. settings: ``bits`` a code, ``entries`` of the table."""

    name: ClassVar[str] = "table"
    rank: ClassVar[int] = 2
    fields: ClassVar[tuple[str, ...]] = ("bits", "entries")

    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        values = elements(raw, form)
        table = distinct(values)
        if table is None:
            return None
        bits = bits_for(len(table))
        if table.nbytes + packed_size(len(values), bits) >= limit:
            return None
        codes = (pack_bits(places(run, table), bits) for run in runs(values))
        return Coded(b"".join([table.tobytes(), *codes]), {"bits": bits, "entries": len(table)})

    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        bits, entries = settings["bits"], settings["entries"]
        start = entries * form.dtype.itemsize
        if bits > 16 or len(payload) != start + packed_size(form.count, bits):
            raise ValueError("its length is not that of its table and codes")
        table = np.frombuffer(payload[:start], form.dtype)
        for at in range(0, form.count, CHUNK):
            here = min(CHUNK, form.count - at)
            run = payload[start + at * bits // 8 : start + packed_size(at + here, bits)]
            yield raw_bytes(table[unpack_bits(run, bits, here)], form)


def distinct(values: Array, most: int = MOST) -> Array | None:
    """The distinct values in rising order; None where there are none, or more than ``most``."""
    if values.itemsize <= 2:
        patterns = 1 << 8 * values.itemsize
        seen = sum(
            (np.bincount(run, minlength=patterns) for run in runs(values)), np.zeros(patterns)
        )
        found = np.flatnonzero(seen).astype(values.dtype)
        return found if 0 < len(found) <= most else None
    some = np.unique(values[:: max(1, len(values) // FEW)])
    if len(values) > MOST and len(some) > min(most, DENSE):
        return None
    table = some
    for run in runs(values):
        if not 0 < len(table) <= most:
            break
        table = np.union1d(table, run)
    return table if 0 < len(table) <= most else None


def places(values: Array, table: Array) -> Array:
    """Where each value stands in a table of rising values that holds them all."""
    if values.itemsize > 2:
        return np.searchsorted(table, values).astype(np.uint16)
    index = np.zeros(int(table[-1]) + 1, np.uint16)
    index[table] = np.arange(len(table))
    return index[values]


def runs(values: Array) -> Iterator[Array]:
    """The values in runs short enough that working on one needs little memory."""
    return (values[at : at + CHUNK] for at in range(0, len(values), CHUNK))
