"""Where the tensors lie in an ONNX file: a walk over its protobuf fields, no package needed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

# Elements of ONNX's TensorProto.DataType: their names, and how many bits each takes in a file.
DTYPES = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16),
    6: ("int32", 32), 7: ("int64", 64), 9: ("bool", 8), 10: ("float16", 16), 11: ("float64", 64),
    12: ("uint32", 32), 13: ("uint64", 64), 16: ("bfloat16", 16), 17: ("float8e4m3fn", 8),
    18: ("float8e4m3fnuz", 8), 19: ("float8e5m2", 8), 20: ("float8e5m2fnuz", 8), 21: ("uint4", 4),
    22: ("int4", 4), 23: ("float4e2m1", 4), 25: ("uint2", 2), 26: ("int2", 2),
}  # fmt: skip
# The fields that lead from a model to its tensors, by the message they stand in.
CHILDREN = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}
DEEPEST = 64
"""Messages within messages; a file that goes deeper is no model."""
DIMS, DATA_TYPE, NAME, RAW_DATA, LOCATION = 1, 2, 8, 9, 14
# What else holds values: its element and width, or bytes where each number has a length of its own.
TYPED = {
    4: ("float32", 32),
    10: ("float64", 64),
    5: ("uint8", 8),
    7: ("uint8", 8),
    11: ("uint8", 8),
}


class ExternalDataError(ValueError):
    """A tensor's values lie in another file."""


@dataclass(frozen=True)
class Tensor:
    """Values that stand as plain bytes in the file: ``content[start:start + size]``.

    width: bits of an element. shape: () where the file's own does not fit the bytes.
    """

    name: str
    dtype: str
    width: int
    shape: tuple[int, ...]
    start: int
    size: int


class Field(NamedTuple):
    """One field of a message: where its bytes lie, and its value where it is a whole number."""

    number: int
    start: int
    end: int
    value: int | None = None


class Content:
    """The bytes of an ONNX file, read once and forwards. length: of the file.

    With ``holes``, ``plain`` is the file without the values of its tensors: each run of values is
    passed over when the walk comes to it, so that what remains tells where all of it was.
    """

    def __init__(self, plain: memoryview, length: int, holes: bool = False) -> None:
        self._plain, self.length, self._holes, self.missing = plain, length, holes, 0

    def byte(self, at: int) -> int:
        return self._plain[at - self.missing]

    def text(self, start: int, end: int) -> str:
        run = self._plain[start - self.missing : end - self.missing]
        return bytes(run).decode("utf8", "replace")

    def values(self, size: int) -> None:
        """So many bytes of a tensor's values stand at the place that was come to."""
        self.missing += size if self._holes else 0


def tensors(content: memoryview) -> tuple[Tensor, ...]:
    """Every tensor of the model that has its values in plain bytes, in the file's order.

    Raises ValueError where the bytes are no ONNX model, ExternalDataError where values are outside.
    """
    return _found(Content(content, len(content)))


def tensors_of_rest(rest: memoryview, length: int) -> tuple[Tensor, ...]:
    """The same from what is left of a file of that length when the values of its tensors are cut out.

    Raises ValueError or IndexError where this is no such rest.
    """
    content = Content(rest, length, holes=True)
    found = _found(content)
    if content.missing + len(rest) != length:
        raise ValueError("its tensors and what is between them are not as long as the model")
    return found


def _found(content: Content) -> tuple[Tensor, ...]:
    found = tuple(_walk(content, Field(0, 0, content.length), "model", 0))
    if any(a.start + a.size > b.start for a, b in pairwise(found)):
        raise ValueError("its tensors overlap")
    return found


def _walk(content: Content, message: Field, kind: str, depth: int) -> Iterator[Tensor]:
    if depth > DEEPEST:
        raise ValueError("its messages are nested too deep")
    if kind == "tensor":
        yield from _tensor(content, message)
        return
    graph = False
    for field in _fields(content, message):
        child = CHILDREN[kind].get(field.number)
        graph = graph or child == "graph"
        if child and field.value is None:
            yield from _walk(content, field, child, depth + 1)
    if kind == "model" and not graph:
        raise ValueError("it holds no graph")


def _tensor(content: Content, message: Field) -> Iterator[Tensor]:
    name, dtype = "", 0
    dims: list[int] = []
    data: list[Field] = []
    for field in _fields(content, message):
        if field.number == LOCATION and field.value == 1:
            raise ExternalDataError("its weights lie in another file")
        if field.number == DATA_TYPE:
            dtype = field.value or 0
        elif field.number == NAME:
            name = content.text(field.start, field.end)
        elif field.number == DIMS:
            dims += _numbers(content, field)
        elif _is_data(field):
            content.values(field.end - field.start)
            data.append(field)
    for field in data:
        own, width = TYPED.get(field.number) or DTYPES.get(dtype, ("uint8", 8))
        yield _shaped(Tensor(name, own, width, tuple(dims), field.start, field.end - field.start))


def _is_data(field: Field) -> bool:
    known = field.number == RAW_DATA or field.number in TYPED
    return known and field.value is None and field.end > field.start


def _shaped(tensor: Tensor) -> Tensor:
    """The tensor, or its bytes alone where type, shape and length do not fit together."""
    count = math.prod(tensor.shape)
    if (count * tensor.width + 7) // 8 == tensor.size:
        return tensor
    return Tensor(tensor.name, "uint8", 8, (tensor.size,), tensor.start, tensor.size)


def _numbers(content: Content, field: Field) -> Iterator[int]:
    """A whole number, or a packed run of them."""
    if field.value is not None:
        yield field.value
        return
    at = field.start
    while at < field.end:
        value, at = _varint(content, at, field.end)
        yield value


def _fields(content: Content, message: Field) -> Iterator[Field]:
    """The fields of one message. Raises ValueError where its bytes are no such thing."""
    at, end = message.start, message.end
    while at < end:
        key, at = _varint(content, at, end)
        number, kind, value = key >> 3, key & 7, None
        start = at
        if kind == 0:
            value, at = _varint(content, at, end)
        elif kind == 2:
            length, start = _varint(content, at, end)
            at = start + length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of unknown kind at byte {at}")
        if at > end or number == 0:
            raise ValueError(f"a field at byte {start} reaches beyond its message")
        yield Field(number, start, at, value)


def _varint(content: Content, at: int, end: int) -> tuple[int, int]:
    """A whole number in base 128, low digits first, and where the next byte stands."""
    value = shift = 0
    while at < end and shift < 70:
        byte = content.byte(at)
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError(f"a number at byte {at} does not end")
