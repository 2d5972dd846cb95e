"""LZMA: for text that repeats, which is what an ONNX file is between its tensors."""

import lzma
from collections.abc import Iterator, Mapping
from typing import ClassVar

from netsuke.packer.block import Form
from netsuke.packer.codecs.base import Codec, Coded

FILTERS = [{"id": lzma.FILTER_LZMA1, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20,
            "lc": 3, "lp": 0, "pb": 0}]  # fmt: skip
"""The dictionary is what decoding takes in memory, whatever the file says."""
FED = 1 << 12
PIECE = 1 << 20
LONGEST = 1 << 20
"""Bytes up to which it is tried: weights are no text, and it is slow."""


class Lzma(Codec):
    """A raw LZMA stream, its settings fixed."""

    name: ClassVar[str] = "lzma"
    rank: ClassVar[int] = 8

    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        if len(raw) > LONGEST or form.width != 8 or len(form.shape) != 1:
            return None
        payload = lzma.compress(raw, lzma.FORMAT_RAW, filters=FILTERS)
        return Coded(payload, {}) if len(payload) < limit else None

    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        maker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS)
        left, start = form.size, 0
        try:
            while left and not (start >= len(payload) and maker.needs_input):
                fed = payload[start : start + FED] if maker.needs_input else b""
                start += len(fed)
                piece = maker.decompress(fed, min(left, PIECE))
                left -= len(piece)
                yield piece
        except lzma.LZMAError as error:
            raise ValueError(str(error)) from error
        if left or start < len(payload):
            raise ValueError("it does not expand to its length")
