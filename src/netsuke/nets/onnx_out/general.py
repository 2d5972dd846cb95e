"""Whatever the tables beside do not know: torch's own exporter, which takes seconds."""

import ast
import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
import torch
from onnxscript import opset21
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.nets.crossing import IN_PAIRS
from netsuke.nets.onnx_out.aten import BATCH, IR_VERSION, OPSET, TYPES
from netsuke.nets.onnx_out.lower import DEQUANTIZE, PICK, ROUND_SMALL, WIDEN
from netsuke.nets.quantizers.activations import HALVE
from netsuke.nets.quantizers.dynamic import DYNAMIC
from netsuke.nets.quantizers.quantizer import QUANTIZE


def translate_all(network: GraphModule, example: Sequence[Tensor]) -> ir.Model:
    """The lowered network in ONNX, by way of ``torch.onnx``.

    Raises NetsukeError, in one line, for what torch cannot export either.
    """
    free = tuple({0: torch.export.Dim.DYNAMIC} for _ in example)
    try:
        with _quiet():
            program = torch.export.export(network, tuple(example), dynamic_shapes=free)
            made = torch.onnx.export(
                program, dynamo=True, opset_version=OPSET, verbose=False,
                custom_translation_table=TABLE,
            )  # fmt: skip
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise NetsukeError(f"onnx: the model cannot be exported: {reason}") from error
    assert made is not None
    model = made.model
    for step in (
        passes.InlinePass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True),
    ):
        step(model)
    _name_ports(model)
    for node in model.graph:
        node.name = _scope(node)
    model.ir_version = IR_VERSION
    return model


onnx: Any = opset21
"""Its annotations know no plain numbers."""


def _quantize(x: Any, scale: Any, zero_point: Any, qmin: int, qmax: int, axis: int) -> Any:
    return onnx.DequantizeLinear(onnx.QuantizeLinear(x, scale, zero_point), scale, zero_point)


def _dequantize(codes: Any, scale: Any, zero_point: Any, axis: int, group: int) -> Any:
    if group:
        return onnx.DequantizeLinear(codes, scale, zero_point, axis=1, block_size=group)
    return onnx.DequantizeLinear(codes, scale, zero_point, axis=max(axis, 0))


def _in_pairs(x: Any, axis: int) -> Any:
    codes, scale, zero_point = x.producer().inputs
    four, low = (onnx.Constant(value=ir.tensor(np.array(n, np.uint8))) for n in (4, 15))
    first, second = onnx.Split(codes, axis=axis, num_outputs=2)
    byte = onnx.BitwiseOr(first, onnx.BitShift(second, four, direction="LEFT"))
    halves = onnx.BitwiseAnd(byte, low), onnx.BitShift(byte, four, direction="RIGHT")
    return onnx.DequantizeLinear(onnx.Concat(*halves, axis=axis), scale, zero_point)


def _quantize_dynamic(x: Any) -> Any:
    integers, scale, zero_point = onnx.DynamicQuantizeLinear(x)
    return onnx.DequantizeLinear(integers, scale, zero_point)


def _pick(codes: Any, levels: Any, scale: Any) -> Any:
    picked = onnx.Gather(levels, onnx.Cast(codes, to=ir.DataType.INT32), axis=0)
    return picked if scale is None else onnx.Mul(picked, scale)


def _widen(half: Any) -> Any:
    return onnx.Cast(half, to=ir.DataType.FLOAT)


def _halve(x: Any, kind: str) -> Any:
    return onnx.Cast(onnx.Cast(x, to=TYPES[kind]), to=TYPES["fp32"])


def _round_small(x: Any, scale: Any, kind: str) -> Any:
    small = onnx.Cast(onnx.Div(x, scale), to=TYPES[kind])
    return onnx.Mul(onnx.Cast(small, to=TYPES["fp32"]), scale)


def _mean(x: Any, dim: Any, keepdim: bool = False, dtype: int = -1) -> Any:
    """The mean over an image is a pool, which runtimes have an integer kernel for."""
    rank = len(x.shape)
    axes = [d % rank for d in (dim or range(rank))]
    if rank != 4 or sorted(axes) != [2, 3]:
        return onnx.ReduceMean(x, onnx.Constant(value_ints=axes), keepdims=int(keepdim))
    pooled = onnx.GlobalAveragePool(x)
    return pooled if keepdim else onnx.Squeeze(pooled, onnx.Constant(value_ints=[2, 3]))


def _scope(node: ir.Node) -> str:
    """The user's module that the node was made for."""
    scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "['']"))
    return next((s for s in reversed(scopes[:-1]) if s), "")


def _name_ports(model: ir.Model) -> None:
    """Outputs named as the direct translation does, the batch by its name."""
    outputs = model.graph.outputs
    for i, value in enumerate(outputs):
        value.name = "output" if len(outputs) == 1 else f"output_{i}"
    for value in (*model.graph.inputs, *outputs):
        if value.shape is not None and len(value.shape) and not isinstance(value.shape[0], int):
            value.shape = ir.Shape([BATCH, *value.shape[1:]])


TABLE: dict[Any, Any] = {
    QUANTIZE: _quantize,
    DYNAMIC: _quantize_dynamic,
    IN_PAIRS: _in_pairs,
    DEQUANTIZE: _dequantize,
    PICK: _pick,
    WIDEN: _widen,
    HALVE: _halve,
    ROUND_SMALL: _round_small,
    torch.ops.aten.mean.dim: _mean,
}


@contextlib.contextmanager
def _quiet() -> Any:
    """torch's exporter prints its progress and warns of packages it does not need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
