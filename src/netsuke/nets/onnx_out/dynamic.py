"""Products of integers whose scale is computed at each call."""

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from netsuke.nets.onnx_out.edit import Editor, array, is_constant, made_by, multiply_integers


def multiply_dynamic(model: ir.Model) -> None:
    """DequantizeLinear(DynamicQuantizeLinear(x)) · DequantizeLinear(codes) → MatMulInteger, scaled;
    onnxruntime fuses that to DynamicQuantizeMatMul or MatMulIntegerToFloat. In place."""
    editor = Editor(model.graph)
    for node in list(model.graph):
        if node.op_type in ("Gemm", "MatMul"):
            _multiply(editor, node)
    passes.RemoveUnusedNodesPass()(model)


def _multiply(editor: Editor, node: ir.Node) -> None:
    x, weight = (made_by(given, "DequantizeLinear") for given in node.inputs[:2])
    source = made_by(x.inputs[0], "DynamicQuantizeLinear") if x is not None else None
    if source is None or weight is None or not is_constant(weight.inputs[0]):
        return
    codes, steps = array(weight.inputs[0]), weight.inputs[1]
    held = editor.constant(codes.T) if node.op_type == "Gemm" else weight.inputs[0]
    integers, scale, zero = source.outputs
    zeros = editor.constant(np.zeros(array(steps).shape, codes.dtype))
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    multiply_integers(editor, node, [integers, held, zero, zeros], (scale, steps), bias)
