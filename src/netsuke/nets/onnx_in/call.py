"""One ONNX node on its way through the table of operations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from netsuke.nets.onnx_in.build import Builder
from netsuke.nets.onnx_in.values import Operand, Size, Sizes, UnreadableError, Value

Handler = Callable[[Builder, "Call"], Any]


@dataclass(frozen=True)
class Call:
    """An ONNX node with its inputs converted.

    alone: for each input, whether this node alone reads it. outputs: how many are asked for. opset:
    of the file, for forms that changed.
    """

    op: str
    attributes: Mapping[str, Any]
    inputs: tuple[Operand, ...]
    alone: tuple[bool, ...]
    outputs: int
    opset: int

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default ONNX gives it."""
        return self.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        """An input that must be a tensor."""
        given = self.inputs[index]
        if isinstance(given, np.ndarray):
            raise UnreadableError("which computes with the size of the batch as data")
        if given is None:
            raise UnreadableError(f"which lacks its input {index}")
        return given

    def optional(self, index: int) -> Value | None:
        """A tensor input that may be left out."""
        return self.value(index) if self.has(index) else None

    def constant(self, index: int) -> torch.Tensor:
        """An input that must be known before running."""
        value = self.value(index)
        if not value.constant:
            raise UnreadableError(f"which needs its input {index} to be a constant")
        return value.first

    def number(self, index: int, attribute: str, default: Any) -> Any:
        """A number that older opsets have as an attribute and newer ones as an input."""
        if attribute in self.attributes:
            return self.attributes[attribute]
        return self.constant(index).item() if self.has(index) else default

    def ints(self, index: int, attribute: str = "") -> list[int | Size] | None:
        """Whole numbers given as an attribute or an input; None where neither is."""
        if attribute and attribute in self.attributes:
            given = self.attributes[attribute]
            return list(given) if isinstance(given, list | tuple) else [given]
        return list(sizes(self, index).reshape(-1)) if self.has(index) else None


def sizes(call: Call, index: int) -> Sizes:
    """An input as whole numbers, some of which may follow the batch."""
    given = call.inputs[index]
    if isinstance(given, np.ndarray):
        return given
    constant = call.constant(index)
    if constant.dtype not in (torch.int64, torch.int32, torch.bool):
        raise UnreadableError(f"which needs whole numbers for its input {index}")
    return np.array(constant.tolist(), dtype=object)


def plain(numbers: list[int | Size] | None, default: list[int] | None = None) -> list[int]:
    """Whole numbers that must not follow the batch."""
    if numbers is None:
        return list(default or [])
    if any(isinstance(n, Size) for n in numbers):
        raise UnreadableError("which has an argument that follows the batch")
    return [int(n) for n in numbers]  # type: ignore[arg-type]
