"""Wide values byte by byte: the exponents of floats and the high bytes of integers are alike."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from netsuke.packer import entropy
from netsuke.packer.block import Array, Form, elements
from netsuke.packer.codecs.base import Codec, Coded
from netsuke.packer.entropy.bits import Cursor, varint
from netsuke.packer.entropy.stream import RUN

PLAIN, TURNED, FOLDED = range(3)
"""Bits as they are; the sign last, so that a float's exponent is a byte; integers that are small on
both sides of zero."""
ALONE = 1 << 16
"""Values by which the way is chosen."""


class Planes(Codec):
    """All lowest bytes, then all second ones, ..., each plane at its entropy or, where it has none to
    lose, as it is. Written: the way (PLAIN, ...), then for each plane its length (0: as it is, the
    length is known) and its bytes."""

    name: ClassVar[str] = "planes"
    rank: ClassVar[int] = 5

    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        if form.width < 16 or not form.count:
            return None
        values = elements(raw, form)
        some = np.ascontiguousarray(values[:: max(1, len(values) // ALONE)])
        way = min((PLAIN, TURNED, FOLDED), key=lambda way: _entropy(_turned(some, way)))
        parts = [bytes([way])]
        for plane in _split(_turned(values, way)):
            coded = entropy.encode(plane, 256, ()) if _pays(plane) else None
            if coded is None or len(coded) >= len(plane):
                parts += [varint(0), plane.tobytes()]
            else:
                parts += [varint(len(coded)), coded]
        payload = b"".join(parts)
        return Coded(payload, {}) if len(payload) < limit else None

    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        cursor = Cursor(payload)
        way = cursor.byte()
        if form.width < 16 or way > FOLDED:
            raise ValueError("it has no such planes")
        planes = [_plane(cursor, form.count) for _ in range(form.dtype.itemsize)]
        if len(cursor.rest):
            raise ValueError("it goes on after its planes")
        for bytes_of in zip(*planes, strict=True):
            values = np.stack(bytes_of, 1).reshape(-1).view(form.dtype)
            yield _back(values, way).tobytes()


def _plane(cursor: Cursor, count: int) -> Iterator[Array]:
    """One plane's bytes, RUN at a time."""
    length = cursor.varint()
    content = cursor.bytes(length or count)
    if length:
        return entropy.decode(content, 256, (), count)
    plain = np.frombuffer(content, np.uint8)
    return (plain[at : at + RUN] for at in range(0, count, RUN))


def _split(values: Array) -> Iterator[Array]:
    """Each plane, the lowest bytes first."""
    table = values.view(np.uint8).reshape(len(values), -1)
    return (np.ascontiguousarray(table[:, place]) for place in range(values.itemsize))


def _turned(values: Array, way: int) -> Array:
    if way == PLAIN:
        return values
    sign = _shift(values, 8 * values.itemsize - 1)
    turned: Array = values << values.dtype.type(1)
    if way == TURNED:
        turned |= sign
        return turned
    return np.where(sign.astype(bool), ~turned, turned).astype(values.dtype)


def _back(values: Array, way: int) -> Array:
    """The opposite of ``_turned``."""
    if way == PLAIN:
        return values
    sign, rest = values & values.dtype.type(1), _shift(values, 1)
    if way == TURNED:
        rest |= sign << values.dtype.type(8 * values.itemsize - 1)
        return rest
    return np.where(sign.astype(bool), ~rest, rest).astype(values.dtype)


def _shift(values: Array, bits: int) -> Array:
    shifted: Array = values >> values.dtype.type(bits)
    return shifted


def _pays(plane: Array) -> bool:
    """Whether the bytes are uneven enough to be coded, by some of them."""
    some = plane[:: max(1, len(plane) // ALONE)]
    counts = np.bincount(some)
    # Random bytes look as if they had this much less than 8 bits each, for there are only so many.
    return _bits(counts) + 0.72 * int(np.count_nonzero(counts)) < 7.98 * len(some)


def _entropy(values: Array) -> float:
    return sum(_bits(np.bincount(plane)) for plane in _split(values))


def _bits(counts: Array) -> float:
    there = counts[counts > 0]
    return float((there * np.log2(there.sum() / there)).sum())
