"""ATen → ONNX: operations on one element at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from netsuke.nets.onnx_out.build import Builder, Operation, UntranslatedError


def _same(kind: str, **attributes: Any) -> Callable[[Builder, Operation], ir.Value]:
    """An operation of one input that ONNX has as it is."""
    return lambda b, o: b(kind, o["self"], **attributes)


def _binary(kind: str) -> Callable[[Builder, Operation], ir.Value]:
    def translate(b: Builder, o: Operation) -> ir.Value:
        if (o["alpha"] or 1) != 1 or o["rounding_mode"] is not None:
            raise UntranslatedError("alpha or rounding")
        return b(kind, _tensor(b, o, "self"), _tensor(b, o, "other"))

    return translate


def _comparison(kind: str, negated: bool = False) -> Callable[[Builder, Operation], ir.Value]:
    def translate(b: Builder, o: Operation) -> ir.Value:
        other = o["other"]
        if not isinstance(other, ir.Value):
            other = b.constant(np.array(other, o.dtype_of("self")))
        elif o.dtype_of("other") != o.dtype_of("self"):
            raise UntranslatedError("mixed types")
        found = b(kind, o["self"], other)
        return b("Not", found) if negated else found

    return translate


def _where(b: Builder, o: Operation) -> ir.Value:
    return b("Where", o["condition"], _tensor(b, o, "self"), _tensor(b, o, "other"))


def _masked_fill(b: Builder, o: Operation) -> ir.Value:
    return b("Where", o["mask"], _tensor(b, o, "value"), o["self"])


def _logical(kind: str) -> Callable[[Builder, Operation], ir.Value]:
    def translate(b: Builder, o: Operation) -> ir.Value:
        if o.dtype_of("self") != np.bool_ or o.dtype_of("other") != np.bool_:
            raise UntranslatedError("bits of whole numbers")
        return b(kind, o["self"], o["other"])

    return translate


def _not(b: Builder, o: Operation) -> ir.Value:
    if o.dtype_of("self") != np.bool_:
        raise UntranslatedError("bits of whole numbers")
    return b("Not", o["self"])


def _tensor(b: Builder, o: Operation, name: str) -> ir.Value:
    """An argument in the type of the result: a number becomes a constant, a tensor may be cast."""
    given = o[name]
    if isinstance(given, ir.Value):
        if o.dtype_of(name) != o.dtype:
            raise UntranslatedError("mixed types")
        return given
    if not isinstance(given, int | float):
        raise UntranslatedError(f"{name} is neither tensor nor number")
    return b.constant(np.array(given, o.dtype))


def _clip(b: Builder, o: Operation) -> ir.Value:
    names = ("min_val", "max_val") if o.name == "hardtanh" else ("min", "max")
    limits = [o[name] for name in names]
    if any(isinstance(x, ir.Value) for x in limits):
        raise UntranslatedError("limits are tensors")
    low, high = (None if x is None else b.constant(np.array(x, o.dtype)) for x in limits)
    return b("Clip", o["self"], low, high)


def _relu6(b: Builder, o: Operation) -> ir.Value:
    return b("Clip", o["self"], *(b.constant(np.array(v, o.dtype)) for v in (0, 6)))


def _silu(b: Builder, o: Operation) -> ir.Value:
    return b("Mul", o["self"], b("Sigmoid", o["self"]))


def _hardswish(b: Builder, o: Operation) -> ir.Value:
    return b("HardSwish", o["self"])


def _gelu(b: Builder, o: Operation) -> ir.Value:
    return b("Gelu", o["self"], approximate=o["approximate"])


def _power(b: Builder, o: Operation) -> ir.Value:
    exponent = o["exponent"]
    if not isinstance(exponent, int | float):
        raise UntranslatedError("the exponent is a tensor")
    return b("Pow", o["self"], b.constant(np.array(exponent, o.dtype)))


def _rsqrt(b: Builder, o: Operation) -> ir.Value:
    return b("Reciprocal", b("Sqrt", o["self"]))


def _leaky(b: Builder, o: Operation) -> ir.Value:
    return b("LeakyRelu", o["self"], alpha=float(o["negative_slope"]))


def _elu(b: Builder, o: Operation) -> ir.Value:
    if o["scale"] != 1 or o["input_scale"] != 1:
        raise UntranslatedError("scaled elu")
    return b("Elu", o["self"], alpha=float(o["alpha"]))


def _prelu(b: Builder, o: Operation) -> ir.Value:
    channels, rank = o.shape_of("weight")[0], o.rank_of("self")
    slope = o["weight"]
    if channels != 1 and rank > 2:
        slope = b("Reshape", slope, b.ints([-1, *[1] * (rank - 2)]))
    return b("PRelu", o["self"], slope)


def _cast(b: Builder, o: Operation) -> ir.Value:
    return b("Cast", o["self"], to=int(ir.DataType.from_numpy(o.dtype)))


BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"}
COMPARISONS = {
    "eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
}  # fmt: skip
SAME = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "exp": "Exp", "sqrt": "Sqrt", "neg": "Neg",
    "abs": "Abs", "log": "Log", "erf": "Erf", "reciprocal": "Reciprocal", "sin": "Sin", "cos": "Cos",
    "mish": "Mish",
}  # fmt: skip
TABLE: dict[str, Callable[[Builder, Operation], Any]] = {
    **{name: _binary(kind) for name, kind in BINARY.items()},
    **{name: _same(kind) for name, kind in SAME.items()},
    **{name: _comparison(kind) for name, kind in COMPARISONS.items()},
    "ne": _comparison("Equal", negated=True),
    "where": _where,
    "masked_fill": _masked_fill,
    **dict.fromkeys(("logical_and", "bitwise_and", "__and__"), _logical("And")),
    **dict.fromkeys(("logical_or", "bitwise_or", "__or__"), _logical("Or")),
    **dict.fromkeys(("logical_not", "bitwise_not"), _not),
    "hardsigmoid": _same("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hardswish": _hardswish,
    "relu6": _relu6,
    **dict.fromkeys(("hardtanh", "clamp", "clamp_min", "clamp_max"), _clip),
    "silu": _silu,
    "gelu": _gelu,
    "pow": _power,
    "rsqrt": _rsqrt,
    "leaky_relu": _leaky,
    "elu": _elu,
    "prelu": _prelu,
    **dict.fromkeys(("to", "_to_copy", "type_as"), _cast),
}
