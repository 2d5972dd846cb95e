"""Few different values at their entropy: integers, indices of a codebook, zeros of a pruned tensor."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from netsuke.packer import entropy
from netsuke.packer.block import Array, Form, elements, raw_bytes
from netsuke.packer.codecs.base import Codec, Coded
from netsuke.packer.codecs.table import distinct, places
from netsuke.packer.entropy.bits import Cursor

MOST = 256
"""Different values, at most."""
SPAN, LISTED = 0, 1


class Ans(Codec):
    """Up to 256 different values of any width, by ``packer.entropy``.

    Written: 0, the least value (a byte, and negative ones are less) and the number of symbols from it
    on less one; or 1, the number of values less one, and each value. Then the symbols.
    """

    name: ClassVar[str] = "ans"
    rank: ClassVar[int] = 0

    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        values = elements(raw, form)
        table = distinct(values, MOST)
        if table is None:
            return None
        if form.width <= 8 and (span := _span(table, 1 << form.width)) < 2 * len(table):
            least = _least(table, 1 << form.width)
            head = bytes([SPAN, least, span - 1])
            symbols, alphabet = values - np.uint8(least) & np.uint8((1 << form.width) - 1), span
        else:
            head = bytes([LISTED, len(table) - 1]) + _ordered(table).tobytes()
            symbols, alphabet = _symbols(values, table), len(table)
        if len(head) >= limit:
            return None
        payload = head + entropy.encode(symbols, alphabet, form.shape)
        return Coded(payload, {}) if len(payload) < limit else None

    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        cursor = Cursor(payload)
        if cursor.byte() == SPAN:
            least, alphabet = cursor.byte(), cursor.byte() + 1
            if form.width > 8:
                raise ValueError("its values are listed where they are wide")
            table = np.arange(least, least + alphabet).astype(np.uint8)
            table &= np.uint8((1 << form.width) - 1)
        else:
            alphabet = cursor.byte() + 1
            table = np.frombuffer(cursor.bytes(alphabet * form.dtype.itemsize), form.dtype)
        pieces = entropy.decode(cursor.rest, alphabet, form.shape, form.count)
        for symbols in _whole(pieces, form.together):
            yield raw_bytes(table[symbols], form)


def _span(table: Array, patterns: int) -> int:
    """Symbols from the least value to the largest, where patterns follow one another in a circle and
    the longest run of unused ones is left out."""
    return int(patterns - _gaps(table, patterns).max() + 1)


def _least(table: Array, patterns: int) -> int:
    return int(table[(int(_gaps(table, patterns).argmax()) + 1) % len(table)])


def _gaps(table: Array, patterns: int) -> Array:
    """From each value to the next one, and from the last to the first."""
    wide = table.astype(np.int64)
    return np.diff(wide, append=wide[0] + patterns)


def _ordered(table: Array) -> Array:
    """The values in the order of the floats that they may be: neighbours are alike."""
    signed = table.view(f"<i{table.itemsize}")
    lowest = np.iinfo(signed.dtype).min
    return table[np.argsort(np.where(signed < 0, lowest - signed, signed), kind="stable")]


def _symbols(values: Array, table: Array) -> Array:
    rank = np.empty(len(table), np.uint8)
    rank[places(_ordered(table), table)] = np.arange(len(table))
    return rank[places(values, table)]


def _whole(pieces: Iterator[Array], together: int) -> Iterator[Array]:
    """The pieces cut so that each fills whole bytes, of so many symbols."""
    left = np.empty(0, np.uint8)
    for piece in pieces:
        piece = np.concatenate([left, piece]) if len(left) else piece
        whole = len(piece) - len(piece) % together
        left = piece[whole:]
        yield piece[:whole]
    if len(left):
        raise ValueError("it has part of a byte")
