"""The same numbers in the form onnxruntime's kernels are fast at. Each rewrite says what it buys,
measured on an x86 core with VNNI, onnxruntime 1.31."""

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from netsuke.nets.onnx_out.edit import (
    Editor,
    array,
    is_constant,
    is_read_once,
    made_by,
    multiply_integers,
    replace,
    slice_arrays,
)
from netsuke.nets.onnx_out.integers import MOVERS

BEYOND = 2**31
"""Further than any image reaches: the end of a slice that has none."""
CHANNELS, OUTPUTS = 4, 16
"""Input channels come in fours, for kernels that give at least sixteen."""


def for_kernels(model: ir.Model) -> None:
    """Apply every rewrite of this module, in place."""
    editor = Editor(model.graph)
    for rewrite in (write_zero_points, free_biases, join_biases, pool_strides, widen_input):
        for node in list(model.graph):
            rewrite(editor, node)
        passes.RemoveUnusedNodesPass()(model)


def write_zero_points(editor: Editor, node: ir.Node) -> None:
    """A product of integers is fused only when its weight's zero points are written out, though all
    are 0."""
    product = node.op_type in ("Gemm", "MatMul")
    x, weight = (
        (made_by(x, "DequantizeLinear") for x in node.inputs[:2]) if product else (None,) * 2
    )
    if x is None or weight is None or len(weight.inputs) > 2:
        return
    zeros = editor.constant(np.zeros(array(weight.inputs[1]).shape, np.int8))
    inputs = [*weight.inputs, zeros]
    written = editor.insert(node, "DequantizeLinear", inputs, dict(weight.attributes))
    node.replace_input_with(1, written.outputs[0])


def free_biases(editor: Editor, node: ir.Node) -> None:
    """A bias added to a float product is stored as the float it is on its integer grid, instead of
    being dequantized at each run."""
    held = node.inputs[0] if node.op_type == "DequantizeLinear" else None
    if held is None or not is_constant(held) or held.dtype != ir.DataType.INT32:
        return
    if all(use.node.op_type in ("Conv", "Gemm") for use in node.outputs[0].uses()):
        return
    floats = array(held).astype(np.float64) * array(node.inputs[1])
    replace(node, editor.constant(floats.astype(np.float32)))


def join_biases(editor: Editor, node: ir.Node) -> None:
    """A product of integers plus a bias → MatMulInteger, scaled, plus the bias, which becomes one kernel
    (MatMulIntegerToFloat): 5 % of a transformer's time. Behind DequantizeLinear and MatMul the addition
    stays apart, and the kernel for matrices, which has a bias, is slower.

    The scale of the input is dequantized from 1, the one kind of constant onnxruntime does not fold.
    """
    product = made_by(node.inputs[0], "MatMul") if node.op_type == "Add" else None
    bias = node.inputs[1] if product is not None else None
    if product is None or not is_read_once(product) or not is_constant(bias):
        return
    x, weight = (made_by(given, "DequantizeLinear") for given in product.inputs)
    if x is None or weight is None or not is_constant(weight.inputs[0]) or array(bias).ndim != 1:
        return
    if array(x.inputs[1]).ndim or array(x.inputs[2]).dtype.itemsize > 1:
        return
    codes, scale, zero = weight.inputs
    one = editor.constant(np.array(1, np.uint8))
    own = editor.insert(node, "DequantizeLinear", [one, x.inputs[1]]).outputs[0]
    multiply_integers(editor, node, [x.inputs[0], codes, x.inputs[2], zero], (own, scale), bias)


def pool_strides(editor: Editor, node: ir.Node) -> None:
    """x[:, :, ::s, ::t] on integers → a maximum pool over single pixels, in half the time: it runs
    on an image whose channels lie together, as those of the convolutions around it do."""
    given = slice_arrays(node)
    if given is None or made_by(node.inputs[0], "QuantizeLinear", *MOVERS) is None:
        return
    starts, ends, axes, steps = given
    if sorted(axes) != [2, 3] or any(starts) or (ends < BEYOND).any() or (steps < 1).any():
        return
    strides = [int(steps[list(axes).index(a)]) for a in (2, 3)]
    attributes = {"kernel_shape": [1, 1], "strides": strides}
    replace(node, editor.insert(node, "MaxPool", node.inputs[:1], attributes).outputs[0])


def widen_input(editor: Editor, node: ir.Node) -> None:
    """A first convolution over 3 colours → over 4, the last one empty: two thirds of the time."""
    if node.op_type != "Conv" or node.attributes["group"].as_int() != 1:
        return
    source, weight = (made_by(x, "DequantizeLinear") for x in node.inputs[:2])
    if source is None or weight is None or not _gives_input(editor.graph, source):
        return
    held = array(weight.inputs[0])
    missing = -held.shape[1] % CHANNELS
    if not missing or len(held) < OUTPUTS:
        return
    pads = np.zeros((2, held.ndim), np.int64)
    pads[1, 1] = missing
    inputs = [source.inputs[0], editor.constant(pads.ravel()), source.inputs[2]]
    wide = editor.insert(node, "Pad", inputs).outputs[0]
    x = editor.insert(node, "DequantizeLinear", [wide, *source.inputs[1:]])
    filled = editor.constant(np.pad(held, [(0, n) for n in pads[1]]))
    inputs = [filled, *weight.inputs[1:]]
    w = editor.insert(node, "DequantizeLinear", inputs, dict(weight.attributes))
    node.replace_input_with(0, x.outputs[0])
    node.replace_input_with(1, w.outputs[0])


def _gives_input(graph: ir.Graph, dequantize: ir.Node) -> bool:
    """Whether it gives back an input of the network, just quantized."""
    quantize = made_by(dequantize.inputs[0], "QuantizeLinear")
    return quantize is not None and quantize.inputs[0] in graph.inputs
