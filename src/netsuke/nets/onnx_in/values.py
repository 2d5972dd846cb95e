"""What ONNX values are while a graph is converted: tensors, and whole numbers of the batch."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, fx

if TYPE_CHECKING:
    from netsuke.nets.onnx_in.build import Builder


class UnreadableError(Exception):
    """Why a node cannot be converted, as the end of a sentence that names the node."""


@dataclass(frozen=True, eq=False)
class Size:
    """A whole number that follows the batch: what it is for each batch tried, and its node."""

    builder: Builder
    seen: tuple[int, ...]
    node: fx.Node

    def __add__(self, other: int | Size) -> int | Size:
        return self.builder.arithmetic(operator.add, self, other)

    def __sub__(self, other: int | Size) -> int | Size:
        return self.builder.arithmetic(operator.sub, self, other)

    def __mul__(self, other: int | Size) -> int | Size:
        return self.builder.arithmetic(operator.mul, self, other)

    def __floordiv__(self, other: int | Size) -> int | Size:
        return self.builder.arithmetic(operator.floordiv, self, other)

    def __radd__(self, other: int) -> int | Size:
        return self.builder.arithmetic(operator.add, other, self)

    def __rsub__(self, other: int) -> int | Size:
        return self.builder.arithmetic(operator.sub, other, self)

    def __rmul__(self, other: int) -> int | Size:
        return self.builder.arithmetic(operator.mul, other, self)


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor: for each batch tried, and its node; without a node it is a constant.

    name: of the initializer a constant comes from, "" for one that was computed.
    """

    seen: tuple[Tensor, ...]
    node: fx.Node | None = None
    name: str = ""

    @property
    def constant(self) -> bool:
        return self.node is None

    @property
    def first(self) -> Tensor:
        """The tensor for the first batch; of a constant, the tensor."""
        return self.seen[0]

    @property
    def rank(self) -> int:
        return self.seen[0].ndim

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.seen[0].shape)


# Whole numbers some of which are Sizes, in a numpy array of objects: moving them about is numpy's.
Sizes = np.ndarray[Any, Any]
Operand = Value | Sizes | None
