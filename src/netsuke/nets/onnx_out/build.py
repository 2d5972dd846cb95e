"""An ONNX graph under construction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from torch.fx import Node

from netsuke.nets import graph
from netsuke.nets.quantizers.roles import op

Shape = tuple[int | None, ...]
"""Sizes of a value: None where it is the batch, OTHER where it changes with it in another way."""
OTHER = -1


class UntranslatedError(Exception):
    """The direct translation does not know this operation, or not with these arguments."""


@dataclass
class Builder:
    """Collects nodes and constants; equal constants are one."""

    nodes: list[ir.Node] = field(default_factory=list)
    constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = field(default_factory=dict)
    at: str = ""
    """The user's name of the layer under translation: the name of the nodes made for it."""

    def __call__(self, kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Add a node with one output."""
        return self.several(kind, 1, *inputs, **attributes)[0]

    def several(
        self, kind: str, outputs: int, *inputs: ir.Value | None, **attributes: Any
    ) -> Sequence[ir.Value]:
        """Add a node with that many outputs."""
        node = ir.node(kind, inputs, attributes, num_outputs=outputs, name=self.at)
        self.nodes.append(node)
        return node.outputs

    def constant(self, array: NDArray[Any]) -> ir.Value:
        """The initializer with these values."""
        array = np.ascontiguousarray(array).reshape(array.shape)
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self.constants:
            name = f"constant{len(self.constants)}"
            tensor = ir.tensor(array, name=name)
            value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), const_value=tensor)
            value.shape = ir.Shape(array.shape)
            self.constants[key] = value
        return self.constants[key]

    def sizes(self, shape: Shape, given: ir.Value) -> ir.Value:
        """A shape as a value, the batch read off ``given``, an input of the network."""
        if OTHER in shape:
            raise UntranslatedError("a size that is neither fixed nor the batch")
        if None not in shape:
            return self.ints([s or 0 for s in shape])
        batch = self("Shape", given, start=0, end=1)
        return self("Concat", *(batch if s is None else self.ints([s]) for s in shape), axis=0)

    def ints(self, values: Sequence[int]) -> ir.Value:
        """A 1-D int64 initializer: shapes, axes, pads."""
        return self.constant(np.array(values, dtype=np.int64))


@dataclass(frozen=True)
class Operation:
    """One ATen call under translation.

    first: the first input of the network. values: what each node of the network became. shapes,
    dtypes: of each node's value, by name.
    """

    node: Node
    first: ir.Value
    values: Mapping[Node, Any]
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, np.dtype[Any]]

    def __getitem__(self, name: str) -> Any:
        """The argument of that name in the ATen schema, with nodes replaced by their values."""
        return self._given(graph.argument(self.node, name))

    @property
    def name(self) -> str:
        """``conv2d``."""
        return op(self.node)

    @property
    def shape(self) -> Shape:
        """Of the result."""
        return self.shapes[self.node.name]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the result."""
        return self.dtypes[self.node.name]

    def shape_of(self, name: str) -> Shape:
        """The shape of a tensor argument."""
        given = graph.argument(self.node, name)
        if not isinstance(given, Node) or given.name not in self.shapes:
            raise UntranslatedError(f"{name} is no tensor")
        return self.shapes[given.name]

    def rank_of(self, name: str) -> int:
        return len(self.shape_of(name))

    def dtype_of(self, name: str) -> np.dtype[Any]:
        """The type of a tensor argument."""
        return self.dtypes[graph.argument(self.node, name).name]

    def dims(self, name: str, of: str = "self") -> list[int]:
        """A dimension argument, or a list of them, counted from the front."""
        given = self.static(name)
        listed = given if isinstance(given, list | tuple) else [given]
        return [int(d) % self.rank_of(of) for d in listed]

    def static(self, name: str) -> Any:
        """An argument that must be known now. Raises UntranslatedError where it is computed."""
        given = graph.argument(self.node, name)
        listed = given if isinstance(given, list | tuple) else [given]
        if any(isinstance(x, Node) for x in listed):
            raise UntranslatedError(f"{name} is computed")
        return given

    def _given(self, argument: Any) -> Any:
        if isinstance(argument, list | tuple):
            return [self._given(a) for a in argument]
        if not isinstance(argument, Node):
            return argument
        if argument not in self.values:
            raise UntranslatedError("a computed size")
        return self.values[argument]
