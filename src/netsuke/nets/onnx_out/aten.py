"""ATen → ONNX, one operation at a time, by the tables beside.

torch's own exporter needs seconds for what this does in milliseconds, and the walk exports after
every step and every time it asks the clock. What a table does not know goes to torch's exporter.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.nets import graph
from netsuke.nets.onnx_out import layers, moving, pointwise, recurrent
from netsuke.nets.onnx_out.build import OTHER, Builder, Operation, Shape, UntranslatedError
from netsuke.nets.quantizers.roles import op

OPSET = 21
IR_VERSION = 10
BATCH = "batch"
SIZES = frozenset({"sym_size", "operator.mul", "operator.add", "operator.sub", "operator.floordiv"})
"""Computed sizes are not translated: shapes are known from running the network."""
SMALL = 4096
"""Elements up to which a computed constant may be larger than what it is computed from."""


def translate(network: GraphModule, example: Sequence[Tensor]) -> ir.Model:
    """The lowered network in ONNX, nodes named by the user's modules.

    Raises UntranslatedError where a table does not know an operation or its arguments.
    """
    return _Translation(network, example).model()


def _quantize(b: Builder, o: Operation) -> ir.Value:
    encoding = (o["scale"], o["zero_point"])
    return b("DequantizeLinear", b("QuantizeLinear", o["x"], *encoding), *encoding)


def _dequantize(b: Builder, o: Operation) -> ir.Value:
    inputs = [o["codes"], o["scale"], *([o["zero_point"]] if o["zero_point"] is not None else [])]
    if o["group"]:
        return b("DequantizeLinear", *inputs, axis=1, block_size=o["group"])
    axis = o["axis"]
    attributes = {"axis": axis} if axis >= 0 else {}
    return b("DequantizeLinear", *inputs, **attributes)


def _in_pairs(b: Builder, o: Operation) -> ir.Value:
    """The integers behind x, two in a byte and two again: where the network is cut, the byte is the least that crosses."""
    codes, *encoding = o["x"].producer().inputs
    axis, four, low = o["axis"], *(b.constant(np.array(n, np.uint8)) for n in (4, 15))
    first, second = b.several("Split", 2, codes, axis=axis, num_outputs=2)
    byte = b("BitwiseOr", first, b("BitShift", second, four, direction="LEFT"))
    halves = b("BitwiseAnd", byte, low), b("BitShift", byte, four, direction="RIGHT")
    return b("DequantizeLinear", b("Concat", *halves, axis=axis), *encoding)


def _quantize_dynamic(b: Builder, o: Operation) -> ir.Value:
    return b("DequantizeLinear", *b.several("DynamicQuantizeLinear", 3, o["x"]))


def _pick(b: Builder, o: Operation) -> ir.Value:
    """ONNX gathers by 32-bit numbers only."""
    picked = b("Gather", o["levels"], b("Cast", o["codes"], to=int(ir.DataType.INT32)), axis=0)
    return picked if o["scale"] is None else b("Mul", picked, o["scale"])


TYPES = {
    "fp32": int(ir.DataType.FLOAT), "fp16": int(ir.DataType.FLOAT16), "bf16": int(ir.DataType.BFLOAT16),
    "e4m3": int(ir.DataType.FLOAT8E4M3FN), "e5m2": int(ir.DataType.FLOAT8E5M2),
}  # fmt: skip


def _widen(b: Builder, o: Operation) -> ir.Value:
    return b("Cast", o["half"], to=int(ir.DataType.FLOAT))


def _halve(b: Builder, o: Operation) -> ir.Value:
    return b("Cast", b("Cast", o["x"], to=TYPES[o["kind"]]), to=TYPES["fp32"])


def _round_small(b: Builder, o: Operation) -> ir.Value:
    """By casts: onnxruntime 1.31 mistakes QuantizeLinear to 8-bit floats for integers, and cannot load
    what its optimizer makes of it."""
    small = b("Cast", b("Div", o["x"], o["scale"]), to=TYPES[o["kind"]])
    return b("Mul", b("Cast", small, to=TYPES["fp32"]), o["scale"])


TABLE: dict[str, Callable[[Builder, Operation], Any]] = {
    **layers.TABLE,
    **pointwise.TABLE,
    **moving.TABLE,
    **recurrent.TABLE,
    "netsuke.quantize": _quantize,
    "netsuke.quantize_dynamic": _quantize_dynamic,
    "netsuke.in_pairs": _in_pairs,
    "netsuke.dequantize": _dequantize,
    "netsuke.pick": _pick,
    "netsuke.widen": _widen,
    "netsuke.halve": _halve,
    "netsuke.round_small": _round_small,
}


class _Translation:
    def __init__(self, network: GraphModule, example: Sequence[Tensor]) -> None:
        self._network, self._example, self._builder = network, example, Builder()
        self._held = graph.values(network, example)
        self._shapes = _free_shapes(self._held, network, example)
        self._dtypes = {name: _dtype(t) for name, t in self._held.items()}
        self._values: dict[Node, Any] = {
            node: self._port(node.name, node)
            for node in network.graph.nodes
            if node.op == "placeholder"
        }
        self._inputs: list[ir.Value] = list(self._values.values())

    def model(self) -> ir.Model:
        outputs: list[ir.Value] = []
        for node in self._network.graph.nodes:
            if node.op == "output":
                outputs = self._outputs(node.args[0])
            elif node.op != "placeholder" and op(node) not in SIZES:
                self._values[node] = self._node(node)
        built = self._builder
        made = ir.Graph(
            self._inputs, outputs, nodes=built.nodes, initializers=list(built.constants.values()),
            opset_imports={"": OPSET}, name="n",
        )  # fmt: skip
        return ir.Model(made, ir_version=IR_VERSION)

    def _node(self, node: Node) -> Any:
        if node.op == "get_attr":
            return self._builder.constant(_array(self._held[node.name]))
        name = op(node)
        if self._is_constant(node):
            return self._builder.constant(_array(self._held[node.name]))
        if name not in TABLE:
            raise UntranslatedError(name)
        self._builder.at = graph.module_name(node) or node.name
        return TABLE[name](self._builder, self._operation(node))

    def _operation(self, node: Node) -> Operation:
        return Operation(node, self._inputs[0], self._values, self._shapes, self._dtypes)

    def _is_constant(self, node: Node) -> bool:
        """Whether the node can be computed now, and is not much larger than what it is made of."""
        inputs = node.all_input_nodes
        if node.name not in self._held or not all(self._is_known(i) for i in inputs):
            return False
        if {None, OTHER} & set(self._shapes[node.name]) or "netsuke" in graph.op(node):
            return False
        size = sum(self._held[i.name].numel() for i in inputs)
        return self._held[node.name].numel() <= max(size, SMALL)

    def _is_known(self, node: Node) -> bool:
        value = self._values.get(node)
        return isinstance(value, ir.Value) and value.const_value is not None

    def _port(self, name: str, node: Node) -> ir.Value:
        """An input or output of the graph; its first dimension is the batch."""
        value = ir.Value(name=name)
        value.type = ir.TensorType(ir.DataType.from_numpy(self._dtypes[node.name]))
        names: dict[int | None, str | None] = {None: BATCH, OTHER: None}
        value.shape = ir.Shape([names.get(s, s) for s in self._shapes[node.name]])
        return value

    def _outputs(self, result: Any) -> list[ir.Value]:
        nodes = list(result) if isinstance(result, list | tuple) else [result]
        made = []
        for i, node in enumerate(nodes):
            # a value that is an input, a constant or another output cannot be an output itself
            value = self._builder("Identity", self._values[node])
            port = self._port("output" if len(nodes) == 1 else f"output_{i}", node)
            value.name, value.type, value.shape = port.name, port.type, port.shape
            made.append(value)
        return made


def _free_shapes(
    held: Mapping[str, Tensor], network: GraphModule, example: Sequence[Tensor]
) -> dict[str, Shape]:
    """The shape of every value, found by running the network with one sample more."""
    count = len(example[0])
    longer = graph.shapes(network, [torch.cat((t, t))[: count + 1] for t in example])

    def free(size: int, other: int) -> int | None:
        if size == other:
            return size
        return None if (size, other) == (count, count + 1) else OTHER

    return {
        name: tuple(free(a, b) for a, b in zip(t.shape, longer[name], strict=True))
        for name, t in held.items()
    }


SMALL_TYPES: dict[torch.dtype, tuple[torch.dtype, Any]] = {
    torch.bfloat16: (torch.int16, ml_dtypes.bfloat16),
    torch.float8_e4m3fn: (torch.uint8, ml_dtypes.float8_e4m3fn),
    torch.float8_e5m2: (torch.uint8, ml_dtypes.float8_e5m2),
}
"""What numpy itself does not know: a type of the same width, and what to see it as."""


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    tensor = tensor.detach().cpu()
    if tensor.dtype not in SMALL_TYPES:
        return tensor.numpy()
    bits, kind = SMALL_TYPES[tensor.dtype]
    return tensor.view(bits).numpy().view(kind)


def _dtype(tensor: Tensor) -> np.dtype[Any]:
    return _array(torch.empty(0, dtype=tensor.dtype)).dtype
