"""Rewrites of a QDQ graph that leave its numbers alone and its floats few.

A runtime runs on integers what stands between DequantizeLinear and QuantizeLinear *and* has a fused
kernel. What only moves data needs no such kernel: it is moved here onto the integers themselves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

MOVERS = frozenset(
    """Slice Pad Reshape Flatten Transpose MaxPool Concat Squeeze Unsqueeze Gather Split Expand
    Resize DepthToSpace SpaceToDepth""".split()
)
ONE_TO_ONE = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice")
SEVERAL_DATA = frozenset({"Concat"})
BEYOND = 2**31
"""Further than any image reaches: the end of a slice that has none."""


def on_integers(model: ir.Model) -> None:
    """Apply every rewrite of this module, in place."""
    rewriter = _Rewriter(model.graph)
    for rewrite in (
        rewriter.turn_constants,
        rewriter.quantize_before_moving,
        rewriter.move,
        rewriter.drop_clip,
        rewriter.cancel,
        rewriter.add_zero_points,
        rewriter.pool_strides,
        rewriter.widen_input,
    ):
        for node in list(model.graph):
            rewrite(node)
        passes.RemoveUnusedNodesPass()(model)


class _Rewriter:
    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph

    def turn_constants(self, node: ir.Node) -> None:
        """Transpose(constant) and Transpose(DequantizeLinear(constant)) → constants turned round."""
        x = node.inputs[0] if node.inputs else None
        if node.op_type != "Transpose" or x is None:
            return
        perm = list(node.attributes["perm"].as_ints())
        if x.const_value is not None:
            self._replace(node, self._constant(np.transpose(_array(x), perm)))
            return
        before = _made_by(x, "DequantizeLinear")
        held = before.inputs[0] if before else None
        if before is None or held is None or held.const_value is None:
            return
        turned = self._constant(np.transpose(_array(held), perm))
        attributes = {}
        if "axis" in before.attributes:
            attributes["axis"] = perm.index(before.attributes["axis"].as_int())
        new = self._insert(node, "DequantizeLinear", [turned, *before.inputs[1:]], attributes)
        self._replace(node, new.outputs[0])

    def quantize_before_moving(self, node: ir.Node) -> None:
        """QuantizeLinear(M(x)) → M(QuantizeLinear(x)), for M of one input that nothing else reads."""
        mover = _made_by(node.inputs[0], *ONE_TO_ONE) if node.op_type == "QuantizeLinear" else None
        if mover is None or len(mover.outputs[0].uses()) > 1 or _numbers(node)[0].ndim:
            return
        if _made_by(mover.inputs[0], "DequantizeLinear"):
            return
        inputs = [mover.inputs[0], *node.inputs[1:]]
        before = self._insert(mover, "QuantizeLinear", inputs, {})
        mover.replace_input_with(0, before.outputs[0])
        node.outputs[0].replace_all_uses_with(mover.outputs[0])
        self.quantize_before_moving(before)

    def add_zero_points(self, node: ir.Node) -> None:
        """onnxruntime fuses a product only when its weight's zero points are written out."""
        if node.op_type not in ("Gemm", "MatMul"):
            return
        weight = _made_by(node.inputs[1], "DequantizeLinear")
        if weight is None or len(weight.inputs) > 2:
            return
        zeros = self._constant(np.zeros(_array(weight.inputs[1]).shape, np.int8))
        inputs = [*weight.inputs, zeros]
        whole = self._insert(node, "DequantizeLinear", inputs, dict(weight.attributes))
        node.replace_input_with(1, whole.outputs[0])

    def move(self, node: ir.Node) -> None:
        """M(DequantizeLinear(q)) → DequantizeLinear(M(q)), where all data has one encoding."""
        if node.op_type in ("Relu", "Clip"):
            self._move_clip(node)
            return
        count = len(node.inputs) if node.op_type in SEVERAL_DATA else 1
        sources = [_made_by(x, "DequantizeLinear") for x in node.inputs[:count]]
        if node.op_type not in MOVERS or not _one_encoding(sources):
            return
        first = sources[0]
        assert first is not None
        data = [s.inputs[0] for s in sources if s is not None]
        rest = list(node.inputs[count:])
        if node.op_type == "Pad":
            if len(rest) > 1 and rest[1] is not None:
                return
            rest = [rest[0], self._zero_point(first)]
        new = self._insert(node, node.op_type, [*data, *rest], dict(node.attributes), len(node.outputs))
        for old, moved in zip(list(node.outputs), new.outputs, strict=True):
            back = self._insert(node, "DequantizeLinear", [moved, *first.inputs[1:]], {})
            old.replace_all_uses_with(back.outputs[0])

    def _move_clip(self, node: ir.Node) -> None:
        """Clip(DequantizeLinear(q)), read by quantizers of the same encoding alone → Clip(q)."""
        source = _made_by(node.inputs[0], "DequantizeLinear")
        users = list(node.outputs[0].consumers())
        same = all(u.op_type == "QuantizeLinear" and _encoding(u) == _encoding(source) for u in users)
        if source is None or not users or not same:
            return
        scale, zero = _numbers(source)
        ends = [None if e is None else self._constant(_level(e, scale, zero)) for e in _limits(node)]
        new = self._insert(node, "Clip", [source.inputs[0], *ends], {})
        for user in users:
            user.outputs[0].replace_all_uses_with(new.outputs[0])

    def drop_clip(self, node: ir.Node) -> None:
        """QuantizeLinear(Clip(x)) → QuantizeLinear(x), where rounding saturates at the same ends."""
        if node.op_type != "QuantizeLinear":
            return
        clip = _made_by(node.inputs[0], "Relu", "Clip")
        if clip is None or len(clip.outputs[0].uses()) > 1:
            return
        scale, zero = _numbers(node)
        kind = np.iinfo(zero.dtype)
        low, high = _limits(clip)
        if (low is None or _level(low, scale, zero) == kind.min) and (
            high is None or _level(high, scale, zero) == kind.max
        ):
            node.replace_input_with(0, clip.inputs[0])
            self.drop_clip(node)

    def cancel(self, node: ir.Node) -> None:
        """QuantizeLinear(DequantizeLinear(q)) of one encoding → q."""
        if node.op_type != "QuantizeLinear":
            return
        source = _made_by(node.inputs[0], "DequantizeLinear")
        if source is not None and _encoding(source) == _encoding(node):
            self._replace(node, source.inputs[0])

    def pool_strides(self, node: ir.Node) -> None:
        """x[:, :, ::s, ::t] on integers → a maximum pool over one pixel, which is the same numbers
        from a kernel that runs whichever way round the image lies (a Slice takes 2 to 3 times as long)."""
        given = _slice_arrays(node)
        if given is None or node.inputs[0] is None or _made_by(node.inputs[0], "QuantizeLinear", *MOVERS) is None:
            return
        starts, ends, axes, steps = given
        if sorted(axes) != [2, 3] or any(starts) or (ends < BEYOND).any() or (steps < 1).any():
            return
        strides = [int(steps[list(axes).index(a)]) for a in (2, 3)]
        attributes = {"kernel_shape": [1, 1], "strides": strides}
        pool = self._insert(node, "MaxPool", node.inputs[:1], attributes)
        self._replace(node, pool.outputs[0])

    def widen_input(self, node: ir.Node) -> None:
        """A first convolution over 3 colours → over 4, the last one empty: the kernels want channels
        in fours, and take half as long again without."""
        source, weight = (_made_by(x, "DequantizeLinear") for x in (*node.inputs, None, None)[:2])
        if node.op_type != "Conv" or source is None or weight is None:
            return
        held = _array(weight.inputs[0])
        missing = -held.shape[1] % 4
        if not missing or len(held) < 16 or node.attributes["group"].as_int() != 1:
            return
        if not self._is_input(source):
            return
        pads = np.zeros((2, held.ndim), np.int64)
        pads[1, 1] = missing
        wide = self._insert(node, "Pad", [source.inputs[0], self._constant(pads.ravel()), source.inputs[2]], {})
        x = self._insert(node, "DequantizeLinear", [wide.outputs[0], *source.inputs[1:]], {})
        fill = [(0, missing if d == 1 else 0) for d in range(held.ndim)]
        inputs = [self._constant(np.pad(held, fill)), *weight.inputs[1:]]
        w = self._insert(node, "DequantizeLinear", inputs, dict(weight.attributes))
        node.replace_input_with(0, x.outputs[0])
        node.replace_input_with(1, w.outputs[0])

    def _is_input(self, dequantize: ir.Node) -> bool:
        """Whether it gives back the network's input, just quantized."""
        quantize = _made_by(dequantize.inputs[0], "QuantizeLinear")
        return quantize is not None and quantize.inputs[0] in self._graph.inputs

    def _zero_point(self, dequantize: ir.Node) -> ir.Value:
        zero = dequantize.inputs[2]
        assert zero is not None
        return zero

    def _constant(self, array: NDArray[Any]) -> ir.Value:
        name = f"turned{len(self._graph.initializers)}"
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), const_value=tensor)
        value.shape = ir.Shape(array.shape)
        self._graph.register_initializer(value)
        return value

    def _insert(
        self,
        at: ir.Node,
        kind: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any],
        outputs: int = 1,
    ) -> ir.Node:
        node = ir.node(kind, inputs, attributes, num_outputs=outputs, name=at.name)
        self._graph.insert_before(at, node)
        return node

    def _replace(self, node: ir.Node, value: ir.Value | None) -> None:
        assert value is not None
        node.outputs[0].replace_all_uses_with(value)


def _slice_arrays(node: ir.Node) -> list[NDArray[Any]] | None:
    """Starts, ends, axes, steps; None where it is no Slice or they are not all constants."""
    values = node.inputs[1:]
    if node.op_type != "Slice" or len(values) != 4:
        return None
    if any(v is None or v.const_value is None for v in values):
        return None
    return [_array(v) for v in values]


def _made_by(value: ir.Value | None, *kinds: str) -> ir.Node | None:
    """The node that makes the value, if it is of one of the kinds."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type in kinds else None


def _one_encoding(sources: Sequence[ir.Node | None]) -> bool:
    """Whether all values come off integers with one scale and zero point for the whole tensor."""
    if not sources or any(s is None or len(s.inputs) < 3 for s in sources):
        return False
    first = _encoding(sources[0])
    return _numbers(sources[0])[0].ndim == 0 and all(_encoding(s) == first for s in sources)


def _encoding(node: ir.Node | None) -> tuple[ir.Value | None, ...]:
    """Scale and zero point; equal constants are one value, so identity is equality."""
    return tuple(node.inputs[1:]) if node is not None else ()


def _numbers(node: ir.Node | None) -> tuple[NDArray[Any], NDArray[Any]]:
    assert node is not None
    return _array(node.inputs[1]), _array(node.inputs[2])


def _array(value: ir.Value | None) -> NDArray[Any]:
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def _limits(clip: ir.Node) -> tuple[float | None, float | None]:
    """The two ends of a Relu or Clip; None where it has none."""
    if clip.op_type == "Relu":
        return 0.0, None
    given = [*clip.inputs[1:], None, None][:2]
    low, high = (None if x is None else float(_array(x)) for x in given)
    return low, high


def _level(value: float, scale: NDArray[Any], zero: NDArray[Any]) -> NDArray[Any]:
    """The integer a number becomes."""
    kind = np.iinfo(zero.dtype)
    level = np.rint(np.float32(value) / scale) + zero.astype(np.float32)
    return np.clip(level, kind.min, kind.max).astype(zero.dtype)
