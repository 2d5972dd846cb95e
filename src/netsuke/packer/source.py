"""A stored model as it comes in: a file or a pipe, read once and forwards."""

from dataclasses import dataclass
from typing import BinaryIO

from netsuke.core.errors import NetsukeError

READ = 1 << 20
"""Bytes read at a time: a length that lies makes no more room than there are bytes."""


@dataclass(frozen=True)
class Source:
    """label: what messages call it."""

    file: BinaryIO
    label: str

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes, or fewer where it ends."""
        held = bytearray()
        while len(held) < count and (piece := self.file.read(min(READ, count - len(held)))):
            held += piece
        return bytes(held)

    def damaged(self, how: str) -> NetsukeError:
        """The error for a file that did not come whole."""
        return NetsukeError(f"{self.label}: {how}; copy it again, or pack its model.onnx again")

    def whole(self, count: int, what: str) -> bytes:
        """The next ``count`` bytes. Raises NetsukeError saying in what it ends where it does."""
        held = self.take(count)
        if len(held) < count:
            raise self.damaged(f"ends within {what}, {count - len(held):,} bytes early")
        return held

    def ended(self) -> None:
        """Raise NetsukeError where more comes."""
        if self.take(1):
            raise self.damaged("goes on after its last section")
