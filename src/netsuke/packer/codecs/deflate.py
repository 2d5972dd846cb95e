"""Deflate (RFC 1951, in the envelope of RFC 1950): for what repeats, and for uneven values."""

import zlib
from collections.abc import Iterator, Mapping
from typing import ClassVar

from netsuke.packer.block import Form
from netsuke.packer.codecs.base import Codec, Coded

SAMPLE = 1 << 11
"""Bytes from each third of a long block that say whether, and how, to deflate all of it."""
FED = 1 << 14
"""Bytes inflated at a time: at most 16 MB come of them."""
REACH = 1 << 15
"""Bytes that a repeat lies back, at most."""
STRATEGIES = (zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY)
"""Weights repeat no runs, and looking for some makes them longer; zeros and indices do."""


class Deflate(Codec):
    """The block's bytes, deflated by whichever strategy makes them shorter."""

    name: ClassVar[str] = "deflate"
    rank: ClassVar[int] = 7

    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        sample = _sample(raw)
        sizes = {strategy: len(deflate(sample, strategy)) for strategy in STRATEGIES}
        best = min(STRATEGIES, key=sizes.__getitem__)
        if sizes[best] * len(raw) > 0.98 * limit * len(sample):
            return None
        payload = deflate(raw, best)
        return Coded(payload, {}) if len(payload) < limit else None

    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        yield from inflate(payload, form.size)


def deflate(
    raw: bytes | memoryview, strategy: int = zlib.Z_DEFAULT_STRATEGY, dictionary: bytes = b""
) -> bytes:
    """The bytes deflated. dictionary: what they may repeat, its last 32 kB."""
    maker = zlib.compressobj(9, strategy=strategy, zdict=dictionary[-REACH:])
    return maker.compress(raw) + maker.flush()


def inflate(payload: bytes | memoryview, size: int, dictionary: bytes = b"") -> Iterator[bytes]:
    """The opposite, in pieces. Raises ValueError unless it makes ``size`` bytes, zlib.error where it
    is damaged; makes no more than a byte beyond."""
    maker, left, given = zlib.decompressobj(zdict=dictionary[-REACH:]), size, memoryview(payload)
    for start in range(0, len(given), FED):
        piece = maker.decompress(given[start : start + FED], left + 1)
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left or not maker.eof or maker.unused_data:
        raise ValueError("it does not inflate to its length")


def _sample(raw: bytes | memoryview) -> bytes:
    if len(raw) <= 4 * SAMPLE:
        return bytes(raw)
    starts = (0, len(raw) // 2, len(raw) - SAMPLE)
    return b"".join(bytes(raw[start : start + SAMPLE]) for start in starts)
