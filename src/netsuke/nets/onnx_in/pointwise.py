"""Activation functions, arithmetic, comparison, reduction."""

import functools
import math
from typing import Any

import onnx
import torch

from netsuke.nets.onnx_in.build import Builder, aten
from netsuke.nets.onnx_in.call import Call, Handler
from netsuke.nets.onnx_in.values import UnreadableError, Value

TYPES: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
}


def unary(target: Any) -> Handler:
    """An operation of one tensor that is the same in both."""
    return lambda b, n: b.call(target, n.value(0))


def binary(target: Any) -> Handler:
    """An operation of two tensors that broadcast."""

    def convert(b: Builder, n: Call) -> Value:
        x, y = n.value(0), n.value(1)
        return b.call(target, x, _scalar(x, y))

    return convert


def commutative(target: Any) -> Handler:
    """As ``binary``, the computed operand first, so that a constant can be a plain number."""

    def convert(b: Builder, n: Call) -> Value:
        x, y = n.value(0), n.value(1)
        if x.constant and not y.constant:
            x, y = y, x
        return b.call(target, x, _scalar(x, y))

    return convert


def compare(packet: Any) -> Handler:
    """A comparison, with a plain number where the second operand is one."""

    def convert(b: Builder, n: Call) -> Value:
        x, y = n.value(0), _scalar(n.value(0), n.value(1))
        return b.call(packet.Tensor if isinstance(y, Value) else packet.Scalar, x, y)

    return convert


def add(b: Builder, n: Call) -> Value:
    """A constant vector added to a linear layer without bias, and to nothing else, is its bias."""
    x, y, alone = n.value(0), n.value(1), n.alone[0]
    if x.constant and not y.constant:
        x, y, alone = y, x, n.alone[1]
    layer = x.node
    bare = layer is not None and layer.target is aten.linear.default and len(layer.args) == 2
    if layer is not None and bare and alone and y.constant and y.shape == x.shape[-1:]:
        b.add_bias(layer, y)
        return Value(tuple(t + y.first for t in x.seen), layer)
    return b.call(aten.add.Tensor, x, _scalar(x, y))


def divide(b: Builder, n: Call) -> Value:
    x, y = n.value(0), n.value(1)
    if x.first.is_floating_point():
        return b.call(aten.div.Tensor, x, _scalar(x, y))
    return b.call(aten.div.Tensor_mode, x, y, rounding_mode="trunc")


def modulo(b: Builder, n: Call) -> Value:
    target = aten.fmod.Tensor if n.attr("fmod", 0) else aten.remainder.Tensor
    return b.call(target, n.value(0), n.value(1))


def power(b: Builder, n: Call) -> Value:
    x, y = n.value(0), n.value(1)
    exponent = _scalar(x, y)
    overload = aten.pow.Tensor_Tensor if isinstance(exponent, Value) else aten.pow.Tensor_Scalar
    return b.call(overload, x, exponent)


def clip(b: Builder, n: Call) -> Value:
    low, high = n.number(1, "min", None), n.number(2, "max", None)
    least, most = torch.finfo(torch.float32).min, torch.finfo(torch.float32).max
    low, high = (None if low == least else low), (None if high == most else high)
    return n.value(0) if low is high is None else b.call(aten.clamp.default, n.value(0), low, high)


def hard_sigmoid(b: Builder, n: Call) -> Value:
    alpha, beta, x = n.attr("alpha", 0.2), n.attr("beta", 0.5), n.value(0)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 0.5:
        return b.call(aten.hardsigmoid.default, x)
    line = b.call(aten.add.Tensor, b.call(aten.mul.Tensor, x, alpha), beta)
    return b.call(aten.clamp.default, line, 0.0, 1.0)


def gelu(b: Builder, n: Call) -> Value:
    kind = n.attr("approximate", "none")
    return b.call(
        aten.gelu.default, n.value(0), **({"approximate": kind} if kind != "none" else {})
    )


def prelu(b: Builder, n: Call) -> Value:
    """One slope a channel, or one for all."""
    x, slope = n.value(0), n.value(1)
    channels = x.shape[1] if x.rank > 1 else 1
    if not slope.constant or slope.first.numel() not in (1, channels):
        raise UnreadableError("which has a slope for each element")
    return b.call(aten.prelu.default, x, b.parameter(slope, slope.first.reshape(-1), "flat"))


def where(b: Builder, n: Call) -> Value:
    return b.call(aten.where.self, n.value(0), n.value(1), n.value(2))


def cast(b: Builder, n: Call) -> Value:
    if (to := n.attr("to")) not in TYPES:
        raise UnreadableError(f"which casts to {onnx.TensorProto.DataType.Name(to)}")
    x = n.value(0)
    same = x.first.dtype == TYPES[to]
    return x if same else b.call(aten.to.dtype, x, TYPES[to])


def several(target: Any) -> Handler:
    """An operation of any number of tensors, two at a time."""

    def convert(b: Builder, n: Call) -> Value:
        values = [n.value(i) for i in range(len(n.inputs))]
        return functools.reduce(lambda x, y: b.call(target, x, y), values)

    return convert


def _scalar(x: Value, y: Value) -> Any:
    """A constant of one element as a plain number, where that changes neither shape nor type."""
    if not y.constant or y.first.numel() != 1 or y.rank > x.rank or x.constant:
        return y
    return y.first.item() if y.first.dtype == x.first.dtype else y


def _with(target: Any, **defaults: Any) -> Handler:
    """An operation of one tensor and float attributes, in the order torch has them."""
    return lambda b, n: b.call(target, n.value(0), *(n.attr(k, v) for k, v in defaults.items()))


TABLE: dict[str, Handler] = {
    "Add": add,
    "Cast": cast,
    "Clip": clip,
    "Div": divide,
    "Elu": _with(aten.elu.default, alpha=1.0),
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "LeakyRelu": _with(aten.leaky_relu.default, alpha=0.01),
    "Max": several(aten.maximum.default),
    "Min": several(aten.minimum.default),
    "Mod": modulo,
    "Mul": commutative(aten.mul.Tensor),
    "PRelu": prelu,
    "Pow": power,
    "Sub": binary(aten.sub.Tensor),
    "Sum": several(aten.add.Tensor),
    "Where": where,
    **{
        name: unary(getattr(aten, target).default)
        for name, target in {
            "Abs": "abs", "Ceil": "ceil", "Cos": "cos", "Erf": "erf", "Exp": "exp",
            "Floor": "floor", "IsInf": "isinf", "IsNaN": "isnan", "HardSwish": "hardswish", "Log": "log", "Mish": "mish", "Neg": "neg",
            "Not": "logical_not", "Reciprocal": "reciprocal", "Relu": "relu", "Round": "round",
            "Selu": "selu", "Sigmoid": "sigmoid", "Sign": "sign", "Sin": "sin",
            "Softplus": "softplus", "Sqrt": "sqrt", "Tanh": "tanh",
        }.items()
    },
    **{
        name: compare(getattr(aten, target))
        for name, target in {
            "Equal": "eq", "Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt",
            "LessOrEqual": "le",
        }.items()
    },
    "And": binary(aten.logical_and.default),
    "Or": binary(aten.logical_or.default),
    "Xor": binary(aten.logical_xor.default),
}  # fmt: skip
