"""Rewrites of a QDQ graph that leave its numbers alone and its floats few.

A runtime runs on integers what stands between DequantizeLinear and QuantizeLinear *and* has a fused
kernel. What only moves data needs no such kernel: it is moved here onto the integers themselves.
"""

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from netsuke.nets.onnx_out.edit import (
    Array,
    Editor,
    array,
    encoding,
    is_constant,
    is_read_once,
    made_by,
    numbers,
    replace,
)

MOVERS = frozenset({
    "Slice", "Pad", "Reshape", "Flatten", "Transpose", "MaxPool", "Concat", "Squeeze", "Unsqueeze",
    "Gather", "Split", "Expand", "Resize", "DepthToSpace", "SpaceToDepth",
})  # fmt: skip
ONE_TO_ONE = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice")
KERNELS = frozenset({
    "Conv", "Gemm", "MatMul", "Add", "Mul", "Sigmoid", "Concat", "GlobalAveragePool", "AveragePool",
})  # fmt: skip
"""Have a kernel on integers, where all they read was dequantized just before."""
PRODUCTS = frozenset({"Gemm", "MatMul"})


def on_integers(model: ir.Model) -> None:
    """Apply every rewrite of this module, in place."""
    editor = Editor(model.graph)
    for rewrite in (turn_constants, quantize_before_moving, move, drop_clip, clip_integers, cancel):
        for node in list(model.graph):
            rewrite(editor, node)
        passes.RemoveUnusedNodesPass()(model)


def meant_for_integers(model: ir.Model) -> frozenset[str]:
    """Names of the nodes that read integers, dequantized just before, and write integers (a product
    may give its sum as it is)."""
    return frozenset(
        str(node.name)
        for node in model.graph
        if node.op_type in KERNELS
        and all(made_by(x, "DequantizeLinear") for x in node.inputs if x is not None)
        and (node.op_type in PRODUCTS or _is_quantized(node.outputs[0]))
    )


def _is_quantized(value: ir.Value) -> bool:
    return all(user.op_type == "QuantizeLinear" for user in value.consumers())


def turn_constants(editor: Editor, node: ir.Node) -> None:
    """Transpose(constant) and Transpose(DequantizeLinear(constant)) → constants turned round."""
    if node.op_type != "Transpose":
        return
    x, perm = node.inputs[0], list(node.attributes["perm"].as_ints())
    if is_constant(x):
        replace(node, editor.constant(np.transpose(array(x), perm)))
        return
    before = made_by(x, "DequantizeLinear")
    if before is None or not is_constant(before.inputs[0]):
        return
    attributes = dict(before.attributes)
    if "axis" in attributes:
        attributes["axis"] = ir.AttrInt64("axis", perm.index(attributes["axis"].as_int()))
    inputs = [
        editor.constant(np.transpose(array(x), perm)) if array(x).ndim == len(perm) else x
        for x in before.inputs
    ]
    replace(node, editor.insert(node, "DequantizeLinear", inputs, attributes).outputs[0])


def quantize_before_moving(editor: Editor, node: ir.Node) -> None:
    """QuantizeLinear(M(x)) → M(QuantizeLinear(x)), for M of one input that nothing else reads."""
    if node.op_type != "QuantizeLinear" or array(node.inputs[1]).ndim:
        return
    mover = made_by(node.inputs[0], *ONE_TO_ONE)
    if mover is None or not is_read_once(mover) or made_by(mover.inputs[0], "DequantizeLinear"):
        return
    before = editor.insert(mover, "QuantizeLinear", [mover.inputs[0], *node.inputs[1:]])
    mover.replace_input_with(0, before.outputs[0])
    replace(node, mover.outputs[0])
    quantize_before_moving(editor, before)


def move(editor: Editor, node: ir.Node) -> None:
    """M(DequantizeLinear(q)) → DequantizeLinear(M(q)), where all data has one encoding."""
    if node.op_type in ("Relu", "Clip"):
        _move_clip(editor, node)
        return
    if node.op_type not in MOVERS or _is_wide(node):
        return
    count = len(node.inputs) if node.op_type == "Concat" else 1
    sources = [made_by(x, "DequantizeLinear") for x in node.inputs[:count]]
    first, rest = sources[0], list(node.inputs[count:])
    if first is None or not _one_encoding(sources):
        return
    if node.op_type == "Pad":
        if len(rest) > 1 and rest[1] is not None:
            return
        rest = [rest[0], first.inputs[2]]  # zero is the zero point
    data = [s.inputs[0] for s in sources if s is not None]
    kind, attributes, outputs = node.op_type, dict(node.attributes), len(node.outputs)
    moved = editor.insert(node, kind, [*data, *rest], attributes, outputs)
    for old, new in zip(list(node.outputs), moved.outputs, strict=True):
        back = editor.insert(node, "DequantizeLinear", [new, *encoding(first)])
        old.replace_all_uses_with(back.outputs[0], replace_graph_outputs=True)


def drop_clip(editor: Editor, node: ir.Node) -> None:
    """QuantizeLinear(Clip(x)) → QuantizeLinear(x), where rounding saturates at the same ends."""
    clip = made_by(node.inputs[0], "Relu", "Clip") if node.op_type == "QuantizeLinear" else None
    if clip is None or not is_read_once(clip):
        return
    scale, zero = numbers(node)
    ends, stored = _ends(clip), np.iinfo(zero.dtype)
    saturates = (
        end is None or _level(end, scale, zero) == limit
        for end, limit in zip(ends, (stored.min, stored.max), strict=True)
    )
    if all(saturates):
        node.replace_input_with(0, clip.inputs[0])
        drop_clip(editor, node)


def clip_integers(editor: Editor, node: ir.Node) -> None:
    """QuantizeLinear(Clip(x)) → Clip(QuantizeLinear(x)), the same numbers, since both only grow with x.

    What gives x is then followed by its quantizer, and has an integer kernel: this is what makes
    activations of fewer than 8 bits run on integers. Clip takes integers of 8 bits, not of 16.
    """
    if node.op_type != "QuantizeLinear":
        return
    clips, x = [], node.inputs[0]
    while (clip := made_by(x, "Relu", "Clip")) is not None and is_read_once(clip):
        clips.append(clip)
        x = clip.inputs[0]
    scale, zero = numbers(node)
    if not clips or scale.ndim or zero.dtype.itemsize > 1:
        return
    stored = np.iinfo(zero.dtype)
    low, high = limits = zero.dtype.type(stored.min), zero.dtype.type(stored.max)
    for clip in reversed(clips):
        given = zip(_ends(clip), limits, strict=True)
        ends = [limit if e is None else _level(e, scale, zero) for e, limit in given]
        low, high = np.clip(low, *ends), np.clip(high, *ends)
    made = editor.insert(node, "QuantizeLinear", [x, *node.inputs[1:]]).outputs[0]
    if (low, high) != limits:
        held = [editor.constant(np.array(end, zero.dtype)) for end in (low, high)]
        made = editor.insert(node, "Clip", [made, *held]).outputs[0]
    replace(node, made)


def cancel(editor: Editor, node: ir.Node) -> None:
    """QuantizeLinear(DequantizeLinear(q)) of one encoding → q."""
    if node.op_type == "QuantizeLinear":
        source = made_by(node.inputs[0], "DequantizeLinear")
        if source is not None and encoding(source) == encoding(node):
            replace(node, source.inputs[0])


def _move_clip(editor: Editor, node: ir.Node) -> None:
    """Clip(DequantizeLinear(q)), read by quantizers of the same encoding alone → Clip(q)."""
    source, users = made_by(node.inputs[0], "DequantizeLinear"), node.outputs[0].consumers()
    if source is None or not users or node.outputs[0].is_graph_output():
        return
    if any(u.op_type != "QuantizeLinear" or encoding(u) != encoding(source) for u in users):
        return
    scale, zero = numbers(source)
    ends = [None if e is None else editor.constant(_level(e, scale, zero)) for e in _ends(node)]
    clipped = editor.insert(node, "Clip", [source.inputs[0], *ends])
    for user in list(users):
        replace(user, clipped.outputs[0])


def _is_wide(mover: ir.Node) -> bool:
    """Whether it would have to move 16-bit integers, which not every operation can."""
    source = made_by(mover.inputs[0], "DequantizeLinear")
    zero = source.inputs[2] if source is not None and len(source.inputs) > 2 else None
    return zero is not None and zero.dtype == ir.DataType.UINT16


def _one_encoding(sources: list[ir.Node | None]) -> bool:
    """Whether all values come off integers with one scale and zero point for the whole tensor."""
    whole = all(
        s is not None and len(s.inputs) == 3 and not array(s.inputs[1]).ndim for s in sources
    )
    return whole and all(encoding(s) == encoding(sources[0]) for s in sources)


def _ends(clip: ir.Node) -> tuple[float | None, float | None]:
    """The two ends of a Relu or Clip; None where it has none."""
    if clip.op_type == "Relu":
        return 0.0, None
    low, high = (None if x is None else float(array(x)) for x in [*clip.inputs[1:], None, None][:2])
    return low, high


def _level(value: float, scale: Array, zero: Array) -> Array:
    """The integer a number becomes."""
    stored = np.iinfo(zero.dtype)
    level = np.rint(np.float32(value) / scale) + zero.astype(np.float32)
    return np.clip(level, stored.min, stored.max).astype(zero.dtype)
