"""Weights in the smallest form a stock runtime takes.

What onnxruntime 1.31 makes of each form on a CPU: a dequantized factor of a product is fused into
MatMulNBits, which multiplies by the codes; GatherBlockQuantized reads rows of 4-bit codes; casts,
look-ups and products of constants are computed once, at load, so that they cost no time and save
no memory. Any other DequantizeLinear would run at each call. Integer kernels read bytes: codes of 2 or 4 bits
lie in the file as such, and are cast to bytes at load, before kernels are chosen.
"""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from netsuke.core.scheme import Cast, Scheme, Uniform
from netsuke.nets.onnx_out.edit import Array, Editor, array, is_constant, made_by, replace

FUSED_BLOCKS = (16, 32, 64, 128, 256)
"""Values to a scale that MatMulNBits takes, beside all of a column."""
LEAST_BLOCK = 16
CONTRIB = "com.microsoft"
"""onnxruntime's own operations, which every build of it has."""
NARROW = {np.dtype(np.int8): ml_dtypes.int4, np.dtype(np.uint8): ml_dtypes.uint4}
QUARTERS = {np.dtype(np.int8): ml_dtypes.int2, np.dtype(np.uint8): ml_dtypes.uint2}
QUARTERS_FROM = (25, 13)
"""The opset and the version of the format that have integers of 2 bits."""
LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
READERS = frozenset({"DequantizeLinear", "MatMulInteger", "ConvInteger"})
"""Of codes that integer kernels multiply by."""
WORTH = 128
"""Codes that save more bytes in halves of one than the cast takes."""


def buys(scheme: Scheme, kind: str) -> str:
    """What a stock onnxruntime makes of a weight of this scheme. kind: the layer's operation."""
    if isinstance(scheme, Uniform) and scheme.bits <= 8:
        if kind == "linear" and scheme.group in (0, *FUSED_BLOCKS):
            return "bytes and time, for onnxruntime multiplies by the codes (MatMulNBits)"
        if kind == "embedding" and (
            not scheme.group or (scheme.bits <= 4 and _block(scheme.group))
        ):
            return "bytes of the file and in memory, for onnxruntime reads rows of codes"
    codes = "halves" if isinstance(scheme, Cast) else "codes"
    return f"bytes of the file, not time, for onnxruntime turns {codes} into floats at load"


def store(model: ir.Model) -> None:
    """Rewrite, in place, what reads a dequantized constant without an integer kernel."""
    editor = Editor(model.graph)
    for node in list(model.graph):
        held = node.inputs[0] if node.op_type == "DequantizeLinear" else None
        if is_constant(held):
            for user in list(node.outputs[0].consumers()):
                _serve(editor, node, user)
        elif node.op_type == "Cast" and is_constant(node.inputs[0]):
            node.replace_input_with(0, editor.constant(_smallest(array(node.inputs[0]))[0]))
    passes.RemoveUnusedNodesPass()(model)
    if any(node.domain == CONTRIB for node in model.graph):
        model.graph.opset_imports[CONTRIB] = 1


def narrow(model: ir.Model) -> None:
    """Codes that fit 2 or 4 bits are stored in them and cast to bytes, in place."""
    editor = Editor(model.graph)
    for value in list(model.graph.initializers.values()):
        codes = array(value)
        kind = _kind(codes) if codes.ndim > 1 and codes.size >= WORTH else None
        if kind is None:
            continue
        readers = [node for node in model.graph if value in node.inputs]
        if all(node.op_type in READERS for node in readers):
            to = {"to": int(ir.DataType.from_numpy(codes.dtype))}
            stored = editor.constant(codes.astype(kind))
            value.replace_all_uses_with(editor.insert(readers[0], "Cast", [stored], to).outputs[0])
            if kind in QUARTERS.values():
                model.graph.opset_imports[""], model.ir_version = QUARTERS_FROM
    passes.RemoveUnusedNodesPass()(model)


def _kind(codes: Array) -> type | None:
    """The narrowest type that holds all codes; None where that is their own."""
    for table in (QUARTERS, NARROW):
        kind = table.get(codes.dtype)
        if kind is not None and _fits(codes, kind):
            return kind
    return None


def _fits(codes: Array, kind: type) -> bool:
    ends = ml_dtypes.iinfo(kind)
    return not codes.size or bool(codes.min() >= ends.min and codes.max() <= ends.max)


def _serve(editor: Editor, dequantize: ir.Node, user: ir.Node) -> None:
    """Give one reader the form it is best served by."""
    weight = dequantize.outputs[0]
    if user.op_type == "Gather" and user.inputs[0] is weight:
        _gather(editor, dequantize, user)
    elif user.op_type in LAYERS and user.inputs[1] is weight:
        if _is_byte(dequantize) and made_by(user.inputs[0], "DequantizeLinear"):
            return  # an integer kernel's
        if user.op_type != "Conv" and _is_fused(dequantize):
            _multiply(editor, dequantize, user)
        else:
            user.replace_input_with(1, _at_load(editor, dequantize, user))


def _multiply(editor: Editor, dequantize: ir.Node, user: ir.Node) -> None:
    """Gemm or MatMul by codes in columns, which is the form that is fused."""
    codes, *encoding = _held(dequantize)
    group, attributes = _group(dequantize), {"axis": 1}
    if user.op_type == "Gemm":  # its weight has outputs first
        codes = codes.T
        encoding = [x.T if x is not None and x.ndim == 2 else x for x in encoding]
    if group:
        attributes = {"axis": 0, "block_size": group}
    encoding = [x if x is None or x.ndim else np.full(codes.shape[1], x) for x in encoding]
    codes, zero = _smallest(codes, encoding[1])
    constants = [editor.constant(x) for x in (codes, encoding[0], zero) if x is not None]
    weight = editor.insert(user, "DequantizeLinear", constants, attributes).outputs[0]
    product = editor.insert(user, "MatMul", [user.inputs[0], weight]).outputs[0]
    bias = user.inputs[2] if len(user.inputs) > 2 else None
    added = product if bias is None else editor.insert(user, "Add", [product, bias]).outputs[0]
    replace(user, added)


def _gather(editor: Editor, dequantize: ir.Node, user: ir.Node) -> None:
    """Rows of codes, then their floats, where that needs no table of floats."""
    codes, _, zero = _held(dequantize)
    group, is_small = _group(dequantize), _smallest(codes, zero)[0].dtype != codes.dtype
    if not _is_byte(dequantize) or codes.ndim != 2 or (group and not (is_small and _block(group))):
        user.replace_input_with(0, _at_load(editor, dequantize, user))
    elif is_small:
        _gather_halves_of_bytes(editor, dequantize, user)
    else:
        _gather_bytes(editor, dequantize, user)


def _gather_halves_of_bytes(editor: Editor, dequantize: ir.Node, user: ir.Node) -> None:
    """ONNX's Gather takes no 4-bit integers; onnxruntime's own operation does."""
    codes, scale, zero = _held(dequantize)
    group = _group(dequantize)
    codes, zero = _smallest(codes, zero)
    shape = scale.shape if group else (len(codes), 1)
    encoding = [
        editor.constant(np.broadcast_to(x if group else x.reshape(-1, 1), shape))
        for x in (scale, zero)
        if x is not None
    ]
    inputs = [editor.constant(codes), user.inputs[1], *encoding]
    block = group or max(LEAST_BLOCK, 2 ** (codes.shape[1] - 1).bit_length())
    node = ir.node(
        "GatherBlockQuantized", inputs, {"block_size": block, "gather_axis": 0, "quantize_axis": 1},
        domain=CONTRIB, name=user.name,
    )  # fmt: skip
    editor.graph.insert_before(user, node)
    replace(user, node.outputs[0])


def _gather_bytes(editor: Editor, dequantize: ir.Node, user: ir.Node) -> None:
    codes, scale, zero = _held(dequantize)
    rows = user.inputs[1]
    made = editor.insert(user, "Gather", [editor.constant(codes), rows], {"axis": 0}).outputs[0]
    made = editor.insert(user, "Cast", [made], {"to": int(ir.DataType.FLOAT)}).outputs[0]
    for kind, x in (("Sub", zero), ("Mul", scale)):
        if x is not None:
            made = editor.insert(user, kind, [made, _of_rows(editor, user, x)]).outputs[0]
    replace(user, made)


def _of_rows(editor: Editor, user: ir.Node, values: Array) -> ir.Value:
    """One number a row, for the rows that are read, as floats; or one for all."""
    if not values.ndim:
        return editor.constant(values.astype(np.float32))
    column = editor.constant(values.reshape(-1, 1).astype(np.float32))
    return editor.insert(user, "Gather", [column, user.inputs[1]], {"axis": 0}).outputs[0]


def _at_load(editor: Editor, dequantize: ir.Node, at: ir.Node) -> ir.Value:
    """Cast(codes) − zero point, · scale: all constant, so that a runtime computes it once."""
    codes, scale, zero = _held(dequantize)
    stored = editor.constant(_smallest(codes)[0])
    made = editor.insert(at, "Cast", [stored], {"to": int(ir.DataType.FLOAT)}).outputs[0]
    for kind, x in (("Sub", zero), ("Mul", scale)):
        if x is not None:
            made = editor.insert(at, kind, [made, _spread(editor, dequantize, x, at)]).outputs[0]
    return made


def _spread(editor: Editor, dequantize: ir.Node, values: Array, at: ir.Node) -> ir.Value:
    """Scales or zero points as floats, in a shape that is broadcast to that of the codes."""
    shape, axis, group = _held(dequantize)[0].shape, _axis(dequantize), _group(dequantize)
    values = values.astype(np.float32)
    if not group:
        return editor.constant(values.reshape([-1 if i == axis else 1 for i in range(len(shape))])
                               if values.ndim else values)  # fmt: skip
    values = np.expand_dims(values, axis + 1)
    wide = [group if i == axis + 1 else n for i, n in enumerate(values.shape)]
    flat = [-1 if i == axis else n for i, n in enumerate(shape)]
    made = editor.constant(values)
    for kind, sizes in (("Expand", wide), ("Reshape", flat)):
        made = editor.insert(at, kind, [made, _ints(editor, sizes)]).outputs[0]
    if shape[axis] % group:
        ends = [_ints(editor, [n]) for n in (0, shape[axis], axis)]
        made = editor.insert(at, "Slice", [made, *ends]).outputs[0]
    return made


def _ints(editor: Editor, values: list[int]) -> ir.Value:
    return editor.constant(np.array(values, np.int64))


def _smallest(codes: Array, zero: Array | None = None) -> tuple[Array, Array | None]:
    """Bytes as 4-bit integers of the same sign where all of them fit."""
    kind = NARROW.get(codes.dtype)
    if kind is None:
        return codes, zero
    if not all(_fits(x, kind) for x in ([codes] if zero is None else [codes, zero])):
        return codes, zero
    return codes.astype(kind), None if zero is None else zero.astype(kind)


def _held(dequantize: ir.Node) -> tuple[Array, Array, Array | None]:
    """Codes, scale, zero point."""
    codes, scale, *zero = (array(x) for x in dequantize.inputs)
    return codes, scale, zero[0] if zero else None


def _is_byte(dequantize: ir.Node) -> bool:
    return _held(dequantize)[0].dtype in NARROW


def _is_fused(dequantize: ir.Node) -> bool:
    """Whether a product by these codes becomes MatMulNBits."""
    group = _group(dequantize)
    return _is_byte(dequantize) and _held(dequantize)[0].ndim == 2 and group in (0, *FUSED_BLOCKS)


def _block(group: int) -> bool:
    """Whether GatherBlockQuantized takes groups of this size."""
    return group >= LEAST_BLOCK and group & (group - 1) == 0


def _group(dequantize: ir.Node) -> int:
    found = dequantize.attributes.get("block_size")
    return found.as_int() if found is not None else 0


def _axis(dequantize: ir.Node) -> int:
    found = dequantize.attributes.get("axis")
    return found.as_int() if found is not None else 1
