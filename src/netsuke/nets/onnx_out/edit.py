"""Reading and changing an ONNX graph."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[Any]


class Editor:
    """Puts nodes and constants into a graph."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._numbers = count()

    def constant(self, array: Array) -> ir.Value:
        """A new initializer."""
        name = f"made{next(self._numbers)}"
        while name in self.graph.initializers:
            name = f"made{next(self._numbers)}"
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), const_value=tensor)
        value.shape = ir.Shape(array.shape)
        self.graph.register_initializer(value)
        return value

    def insert(
        self,
        at: ir.Node,
        kind: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        outputs: int = 1,
    ) -> ir.Node:
        """A new node before ``at``, with its name."""
        node = ir.node(kind, inputs, attributes, num_outputs=outputs, name=at.name)
        self.graph.insert_before(at, node)
        return node


def replace(node: ir.Node, value: ir.Value | None) -> None:
    """Let all that reads the node's output read ``value``; the node is left unused."""
    assert value is not None
    node.outputs[0].replace_all_uses_with(value, replace_graph_outputs=True)


def made_by(value: ir.Value | None, *kinds: str) -> ir.Node | None:
    """The node that makes the value, if it is of one of the kinds."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type in kinds else None


def multiply_integers(
    editor: Editor,
    node: ir.Node,
    codes: list[ir.Value | None],
    scales: tuple[ir.Value, ir.Value | None],
    bias: ir.Value | None,
) -> None:
    """Put MatMulInteger, scaled, plus a bias where ``node`` is; onnxruntime fuses it to one kernel.

    codes: of both factors, then their zero points. scales: of both; the first must be computed at each
    call, else onnxruntime folds their product before it looks for the pattern.
    """
    total = editor.insert(node, "MatMulInteger", codes).outputs[0]
    floats = editor.insert(node, "Cast", [total], {"to": int(ir.DataType.FLOAT)}).outputs[0]
    step = editor.insert(node, "Mul", list(scales)).outputs[0]
    made = editor.insert(node, "Mul", [floats, step]).outputs[0]
    replace(node, made if bias is None else editor.insert(node, "Add", [made, bias]).outputs[0])


def is_read_once(node: ir.Node) -> bool:
    """Whether one node alone reads the output, and it is no output of the graph."""
    value = node.outputs[0]
    return len(value.uses()) == 1 and not value.is_graph_output()


def array(value: ir.Value | None) -> Array:
    """The numbers of a constant."""
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


def is_constant(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None


def encoding(node: ir.Node | None) -> tuple[ir.Value | None, ...]:
    """Scale and zero point of a (De)QuantizeLinear. Equal constants are one value in a graph, so
    that identity is equality."""
    return tuple(node.inputs[1:]) if node is not None else ()


def numbers(node: ir.Node) -> tuple[Array, Array]:
    """Scale and zero point of a (De)QuantizeLinear that has both."""
    return array(node.inputs[1]), array(node.inputs[2])


def slice_arrays(node: ir.Node) -> list[Array] | None:
    """Starts, ends, axes and steps; None where it is no Slice, or they are not all constants."""
    values = node.inputs[1:]
    if node.op_type != "Slice" or len(values) != 4 or not all(map(is_constant, values)):
        return None
    return [array(v) for v in values]
