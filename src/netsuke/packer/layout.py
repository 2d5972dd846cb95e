"""Which tensors are written together and which in parts: read off the ONNX file, so written nowhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from netsuke.packer.block import Form
from netsuke.packer.wire import Tensor

SMALL = 1 << 10
"""Bytes below which a tensor is written together with others of its type."""
TOGETHER = 1 << 24
"""Bytes of all small tensors: they are held in memory; what is beyond is written as if it were large."""
PART = 1 << 22
"""Bytes of a part of a large tensor: what unpacking holds at a time."""


@dataclass(frozen=True)
class Span:
    """A run of bytes of a tensor. offset: of its first byte in the tensor."""

    tensor: Tensor
    offset: int
    size: int

    @property
    def start(self) -> int:
        """Where it stands in the ONNX file."""
        return self.tensor.start + self.offset


@dataclass(frozen=True)
class Block:
    """What one section holds. name: of the tensor, or what messages call several."""

    name: str
    form: Form
    spans: tuple[Span, ...]


class Plan(NamedTuple):
    """The blocks of a model in the order of their sections: those of small tensors, which unpacking
    holds, then the large ones as they stand in the file."""

    small: tuple[Block, ...]
    large: tuple[Block, ...]

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.small + self.large


def planned(tensors: tuple[Tensor, ...]) -> Plan:
    """The blocks of these tensors."""
    groups: dict[tuple[str, int], list[Tensor]] = {}
    large, held = list[Block](), 0
    for tensor in tensors:
        if tensor.size < SMALL and held + tensor.size <= TOGETHER:
            groups.setdefault((tensor.dtype, tensor.width), []).append(tensor)
            held += tensor.size
        else:
            large += list(_parts(tensor))
    small = tuple(_group(*key, members) for key, members in groups.items())
    return Plan(small, tuple(large))


def _group(dtype: str, width: int, members: list[Tensor]) -> Block:
    if len(members) == 1:
        return next(_parts(members[0]))
    size = sum(member.size for member in members)
    spans = tuple(Span(member, 0, member.size) for member in members)
    name = f"{len(members)} small {dtype}"
    return Block(name, Form(width, (size * 8 // width,), size), spans)


def _parts(tensor: Tensor) -> Iterator[Block]:
    """The tensor, by rows where they are short enough and whole bytes."""
    rows = tensor.shape[0] if len(tensor.shape) > 1 else 0
    row = tensor.size // rows if rows and tensor.size % rows == 0 else 0
    if tensor.size <= PART:
        yield Block(tensor.name, Form(tensor.width, tensor.shape, tensor.size), (_span(tensor),))
    elif 0 < row <= PART and row * rows == tensor.size and row * 8 % tensor.width == 0:
        many = PART // row
        for at in range(0, rows, many):
            here = min(many, rows - at)
            form = Form(tensor.width, (here, *tensor.shape[1:]), here * row)
            yield Block(tensor.name, form, (Span(tensor, at * row, here * row),))
    else:
        for at in range(0, tensor.size, PART):
            size = min(PART, tensor.size - at)
            form = Form(tensor.width, (size * 8 // tensor.width,), size)
            yield Block(tensor.name, form, (Span(tensor, at, size),))


def _span(tensor: Tensor) -> Span:
    return Span(tensor, 0, tensor.size)
