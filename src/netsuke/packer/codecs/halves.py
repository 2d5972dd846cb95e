"""Single precision that is half precision in truth."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from netsuke.packer.block import CHUNK, Array, Form, elements
from netsuke.packer.codecs.base import Codec, Coded


class Halves(Codec):
    """32-bit values that float16, or bfloat16, holds exactly. settings: ``brain``, 1 for bfloat16."""

    name: ClassVar[str] = "halves"
    rank: ClassVar[int] = 4
    fields: ClassVar[tuple[str, ...]] = ("brain",)

    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        if form.width != 32 or len(raw) // 2 >= limit:
            return None
        patterns = elements(raw, form)
        if not (patterns & 0xFFFF).any():
            return Coded((patterns >> 16).astype("<u2").tobytes(), {"brain": 1})
        with np.errstate(all="ignore"):  # overflow means that it is no half; it is compared below
            half = patterns.view("<f4").astype("<f2")
        if not np.array_equal(_singles(half), patterns):
            return None
        return Coded(half.tobytes(), {"brain": 0})

    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        brain = settings["brain"]
        if form.width != 32 or len(payload) * 2 != form.size:
            raise ValueError("its length is not half its tensor's")
        halves = np.frombuffer(payload, "<u2")
        for at in range(0, len(halves), CHUNK):
            run = halves[at : at + CHUNK]
            patterns = run.astype("<u4") << 16 if brain else _singles(run.view("<f2"))
            yield patterns.tobytes()


def _singles(half: Array) -> Array:
    """The bit patterns of halves made single."""
    with np.errstate(all="ignore"):  # a signalling NaN is made quiet; encode compares the bits
        return half.astype("<f4").view("<u4")
