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


class Table(Codec):
    """One table for the whole tensor: a 3-bit weight costs 3 bits, whatever type holds it in the
    ONNX file, and a codebook of 16 entries 4. settings: ``bits`` a code, ``entries`` of the table."""

    name: ClassVar[str] = "table"
    rank: ClassVar[int] = 1

    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        values = elements(raw, form)
        if not len(values):
            return None
        table = distinct(values)
        bits = bits_for(len(table))
        if bits > 32 or table.nbytes + packed_size(len(values), bits) >= limit:
            return None
        payload = table.tobytes() + pack_bits(places(values, table), bits)
        return Coded(payload, {"bits": bits, "entries": len(table)})

    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        bits, entries = settings["bits"], settings["entries"]
        start = entries * form.dtype.itemsize
        if bits > 32 or len(payload) != start + packed_size(form.count, bits):
            raise ValueError("its length is not that of its table and codes")
        table = np.frombuffer(payload[:start], form.dtype)
        for at in range(0, form.count, CHUNK):
            here = min(CHUNK, form.count - at)
            run = payload[start + at * bits // 8 : start + packed_size(at + here, bits)]
            yield raw_bytes(table[unpack_bits(run, bits, here)], form)


def distinct(values: Array) -> Array:
    """The distinct values in rising order. A count beats a sort where there are few that can be."""
    if values.itemsize > 2:
        return np.unique(values)
    return np.flatnonzero(np.bincount(values)).astype(values.dtype)


def places(values: Array, table: Array) -> Array:
    """Where each value stands in a table of rising values that holds them all."""
    if values.itemsize > 2:
        return np.searchsorted(table, values).astype(np.uint32)
    index = np.zeros(int(table[-1]) + 1, np.uint32)
    index[table] = np.arange(len(table))
    return index[values]
