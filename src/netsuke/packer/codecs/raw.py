"""The bytes as they are."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from netsuke.packer.block import Form
from netsuke.packer.codecs.base import Codec, Coded


class Raw(Codec):
    """For values with nothing in common."""

    name: ClassVar[str] = "raw"
    rank: ClassVar[int] = 1

    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        return Coded(bytes(raw), {}) if len(raw) < limit else None

    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        if len(payload) != form.size:
            raise ValueError("its length is not its tensor's")
        yield bytes(payload)
