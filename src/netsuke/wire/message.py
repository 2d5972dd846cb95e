"""A message: a header in JSON, and frames of bytes behind it that are arrays or a piece of a file.

What comes from outside is believed in nothing: sizes, types and shapes are compared with what is there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from netsuke.core.errors import NetsukeError

if TYPE_CHECKING:
    from netsuke.core.data import Array

T = TypeVar("T")
VERSION = 1
"""Of what is said. Another one is answered with a clear error, never guessed at."""
MOST_HEADER, MOST_FRAMES, MOST_BYTES = 1 << 16, 64, 1 << 28
"""Bytes of a header, frames of a message, bytes of a frame."""
MOST_DIMENSIONS = 8
TYPES = frozenset({
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
})  # fmt: skip
"""Of arrays. None of them holds objects."""
ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class WireError(NetsukeError):
    """A message that cannot be one, or an answer that something went wrong at the other end."""


@dataclass(frozen=True)
class Message:
    """head: what is said, JSON types only. frames: bytes that belong to it."""

    head: Mapping[str, Any]
    frames: Sequence[Any] = field(default=())

    def text(self, key: str) -> str:
        """A word of the header. Raises WireError where it is none."""
        return self._of(key, str)

    def whole(self, key: str, most: int) -> int:
        """A number of the header, 0 … most. Raises WireError where it is none."""
        value = self._of(key, int)
        if isinstance(value, bool) or not 0 <= value <= most:
            raise WireError(f"{key}: {value} is not within 0 … {most}")
        return value

    def table(self, key: str) -> dict[str, Any]:
        """A table of the header. Raises WireError where it is none."""
        return self._of(key, dict)

    def _of(self, key: str, kind: type[T]) -> T:
        value = self.head.get(key)
        if not isinstance(value, kind):
            raise WireError(f"{key}: expected {kind.__name__}, got {type(value).__name__}")
        return value


def pack(message: Message) -> list[Any]:
    """The frames to send. Raises WireError where the header is longer than the other end takes."""
    head = ENCODER.encode({"v": VERSION, **message.head}).encode()
    if len(head) > MOST_HEADER:
        raise WireError(f"a header of {len(head)} bytes; at most {MOST_HEADER} are taken")
    return [head, *message.frames]


def unpack(frames: Sequence[Any]) -> Message:
    """What was said. Raises WireError for anything that is no message of this version."""
    if not 1 <= len(frames) <= MOST_FRAMES:
        raise WireError(f"a message of {len(frames)} frames; 1 … {MOST_FRAMES} are taken")
    if len(frames[0]) > MOST_HEADER or any(len(frame) > MOST_BYTES for frame in frames[1:]):
        raise WireError("a frame is larger than is taken")
    try:
        head = json.loads(str(frames[0], "utf8"))
    except (ValueError, RecursionError) as error:
        raise WireError("a header that is no JSON") from error
    if not isinstance(head, dict):
        raise WireError("a header that is no table")
    if head.get("v") != VERSION:
        raise WireError(
            f"it speaks version {str(head.get('v'))[:20]} and this end version {VERSION}: have the same Netsuke on both"
        )
    return Message(head, frames[1:])


def with_arrays(head: Mapping[str, Any], arrays: Sequence[Array]) -> Message:
    """A message that carries arrays, in the order of their frames; they are not copied."""
    import numpy as np

    whole = [np.asarray(array, order="C") for array in arrays]
    told = [[_name(array.dtype), list(array.shape)] for array in whole]
    return Message({**head, "arrays": told}, [array.reshape(-1).view("u1").data for array in whole])


def arrays_of(message: Message) -> tuple[Array, ...]:
    """The arrays a message carries, read-only views of its frames.

    Raises WireError where a type is none that is sent, or a shape does not fit the bytes.
    """
    import numpy as np

    told = message.head.get("arrays")
    if not isinstance(told, list) or len(told) != len(message.frames):
        raise WireError(f"{len(message.frames)} frames that the header does not tell of")
    found = []
    for number, (one, frame) in enumerate(zip(told, message.frames, strict=True)):
        kind, shape = _checked(number, one)
        size = math.prod(shape) * np.dtype(kind).itemsize
        if size != len(frame):
            raise WireError(f"array {number} is told to have {size} bytes and has {len(frame)}")
        found.append(np.frombuffer(frame, kind).reshape(shape))
    return tuple(found)


@cache
def _name(kind: Any) -> str:
    """Of a dtype, which takes its time to say it."""
    return str(kind.name)


def _checked(number: int, told: Any) -> tuple[str, list[int]]:
    if not (isinstance(told, list) and len(told) == 2 and isinstance(told[1], list)):
        raise WireError(f"array {number} is told of as {str(told)[:60]}")
    kind, shape = told
    if not isinstance(kind, str) or kind not in TYPES:
        raise WireError(f"array {number} is of {str(kind)[:20]!r}, which is not sent")
    sizes = all(
        isinstance(d, int) and not isinstance(d, bool) and 0 <= d <= MOST_BYTES for d in shape
    )
    if not sizes or len(shape) > MOST_DIMENSIONS:
        raise WireError(f"array {number} has no shape: {str(shape)[:60]}")
    return kind, shape
