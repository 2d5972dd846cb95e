"""Convolutions, linear layers, norms, pooling."""

import math
from typing import Any

from netsuke.nets.onnx_in.build import Builder, aten
from netsuke.nets.onnx_in.call import Call, Handler
from netsuke.nets.onnx_in.values import UnreadableError, Value

CONV = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
TRANSPOSED = (
    aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input,
)  # fmt: skip
MAX_POOL = (aten.max_pool1d.default, aten.max_pool2d.default, aten.max_pool3d.default)
AVERAGE_POOL = (aten.avg_pool1d.default, aten.avg_pool2d.default, aten.avg_pool3d.default)
MEAN_POOL = (
    aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default,
    aten.adaptive_avg_pool3d.default,
)  # fmt: skip
PEAK_POOL = (
    aten.adaptive_max_pool1d.default, aten.adaptive_max_pool2d.default,
    aten.adaptive_max_pool3d.default,
)  # fmt: skip


def conv(b: Builder, n: Call) -> Value:
    """Symmetric padding goes into the convolution, other padding before it."""
    x, weight, bias = n.value(0), _weight(b, n.value(1)), _optional(b, n.optional(2))
    where = _window(n, x, weight.shape[2:])
    x, padding = _padded(b, x, where["pads"], 0.0)
    rest = (where["strides"], padding, where["dilations"], n.attr("group", 1))
    return b.call(_rank(CONV, x), x, weight, bias, *rest)


def conv_transpose(b: Builder, n: Call) -> Value:
    if n.attr("output_shape") or n.attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise UnreadableError("which is given by its output's shape")
    x, weight, bias = n.value(0), _weight(b, n.value(1)), _optional(b, n.optional(2))
    where = _window(n, x, weight.shape[2:])
    extra = list(n.attr("output_padding", [0] * (x.rank - 2)))
    before, after = _halves(where["pads"])
    # Cutting less off the end than off the start is torch's output_padding.
    extra = [e + s - t for e, s, t in zip(extra, before, after, strict=True)]
    if min(extra) < 0:
        raise UnreadableError("which cuts more off the end than off the start")
    rest = (where["strides"], before, extra, n.attr("group", 1), where["dilations"])
    return b.call(_rank(TRANSPOSED, x), x, weight, bias, *rest)


def gemm(b: Builder, n: Call) -> Value:
    x, weight, bias = n.value(0), n.value(1), n.optional(2)
    alpha, beta = n.attr("alpha", 1.0), n.attr("beta", 1.0)
    if n.attr("transA", 0):
        x = b.call(aten.transpose.int, x, 0, 1)
    flat = bias is None or (bias.constant and bias.rank == 1 and beta == 1.0)
    if weight.constant and flat and not (bias and bias.shape[0] == 1 < weight.shape[0]):
        turned = weight.first if n.attr("transB", 0) else weight.first.T
        form = f"linear {n.attr('transB', 0)} {alpha}"
        scaled = b.parameter(weight, turned * alpha if alpha != 1.0 else turned, form)
        return b.call(aten.linear.default, x, scaled, *((bias,) if bias else ()))
    if n.attr("transB", 0):
        weight = b.call(aten.transpose.int, weight, 0, 1)
    product = b.call(aten.matmul.default, x, weight)
    if alpha != 1.0:
        product = b.call(aten.mul.Tensor, product, alpha)
    if bias is not None and beta != 1.0:
        bias = b.call(aten.mul.Tensor, bias, beta)
    return product if bias is None else b.call(aten.add.Tensor, product, bias)


def matmul(b: Builder, n: Call) -> Value:
    """With a constant matrix on the right it is a linear layer; ``add`` gives it its bias."""
    x, weight = n.value(0), n.value(1)
    if weight.constant and not x.constant and weight.rank == 2 and x.rank >= 2:
        return b.call(aten.linear.default, x, b.parameter(weight, weight.first.T, "turned"))
    return b.call(aten.matmul.default, x, weight)


def batch_norm(b: Builder, n: Call) -> Value:
    if n.attr("training_mode", 0):
        raise UnreadableError("which is in training mode; export the model in eval mode")
    weight, bias = b.parameter(n.value(1)), b.parameter(n.value(2))
    mean, var = b.buffer(n.value(3)), b.buffer(n.value(4))
    momentum = 1.0 - n.attr("momentum", 0.9)  # ONNX says how much of the old is kept
    rest = (b.training(), momentum, n.attr("epsilon", 1e-5), False)
    return b.call(aten.batch_norm.default, n.value(0), weight, bias, mean, var, *rest)


def instance_norm(b: Builder, n: Call) -> Value:
    rest = (None, None, True, 0.1, n.attr("epsilon", 1e-5), False)
    return b.call(aten.instance_norm.default, n.value(0), n.value(1), n.value(2), *rest)


def layer_norm(b: Builder, n: Call) -> Value:
    if n.outputs > 1:
        raise UnreadableError("which gives more than its first output")
    x = n.value(0)
    over = list(x.shape[n.attr("axis", -1) % x.rank :])
    weight, bias = n.value(1), n.optional(2)
    if list(weight.shape) != over:
        raise UnreadableError("which has a scale of another shape than it norms over")
    rest = (n.attr("epsilon", 1e-5), False)
    return b.call(aten.layer_norm.default, x, over, weight, bias, *rest)


def group_norm(b: Builder, n: Call) -> Value:
    weight, bias = n.value(1), n.value(2)
    if weight.shape != n.value(0).shape[1:2]:
        raise UnreadableError("which has one scale a group, as before opset 21; export anew")
    rest = (n.attr("num_groups"), weight, bias, n.attr("epsilon", 1e-5), False)
    return b.call(aten.group_norm.default, n.value(0), *rest)


def max_pool(b: Builder, n: Call) -> Value:
    if n.outputs > 1:
        raise UnreadableError("which gives indices")
    x, kernel = n.value(0), n.attr("kernel_shape")
    where = _window(n, x, kernel)
    x, padding = _padded(b, x, where["pads"], -math.inf, kernel)
    rest = (where["strides"], padding, where["dilations"], bool(n.attr("ceil_mode", 0)))
    return b.call(_rank(MAX_POOL, x), x, kernel, *rest)


def average_pool(b: Builder, n: Call) -> Value:
    x, kernel = n.value(0), n.attr("kernel_shape")
    where = _window(n, x, kernel)
    counted = bool(n.attr("count_include_pad", 0))
    before, after = _halves(where["pads"])
    if any(d != 1 for d in where["dilations"]):
        raise UnreadableError("which has dilation")
    if before != after and not counted:
        raise UnreadableError("which pads unevenly and leaves the padding out of the average")
    x, padding = _padded(b, x, where["pads"], 0.0, kernel)
    rest = (where["strides"], padding, bool(n.attr("ceil_mode", 0)), counted)
    return b.call(_rank(AVERAGE_POOL, x), x, kernel, *rest)


def global_average_pool(b: Builder, n: Call) -> Value:
    x = n.value(0)
    return b.call(_rank(MEAN_POOL, x), x, [1] * (x.rank - 2))


def global_max_pool(b: Builder, n: Call) -> Value:
    x = n.value(0)
    return b.call(_rank(PEAK_POOL, x), x, [1] * (x.rank - 2))[0]


def _weight(b: Builder, value: Value) -> Value:
    return b.parameter(value) if value.constant else value


def _optional(b: Builder, value: Value | None) -> Value | None:
    return None if value is None else _weight(b, value)


def _rank(kinds: tuple[Any, ...], x: Value) -> Any:
    if not 3 <= x.rank <= 5:
        raise UnreadableError(f"which has an input of {x.rank} dimensions")
    return kinds[x.rank - 3]


def _window(n: Call, x: Value, kernel: tuple[int, ...]) -> dict[str, list[int]]:
    """Strides, dilations and pads (all starts, then all ends) of a sliding window."""
    ones = [1] * len(kernel)
    strides, dilations = list(n.attr("strides", ones)), list(n.attr("dilations", ones))
    pads = list(n.attr("pads", [0] * 2 * len(kernel)))
    if (mode := n.attr("auto_pad", "NOTSET")) in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
            for size, s, k, d in zip(x.shape[2:], strides, kernel, dilations, strict=True)
        ]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = less + more if mode == "SAME_UPPER" else more + less
    return {"strides": strides, "dilations": dilations, "pads": pads}


def _halves(pads: list[int]) -> tuple[list[int], list[int]]:
    return pads[: len(pads) // 2], pads[len(pads) // 2 :]


def _padded(
    b: Builder, x: Value, pads: list[int], fill: float, kernel: Any = None
) -> tuple[Value, list[int]]:
    """Padding that torch's window takes itself, or the input with the padding around it."""
    before, after = _halves(pads)
    fits = kernel is None or all(2 * p <= k for p, k in zip(before, kernel, strict=True))
    if before == after and fits:
        return x, before
    around = [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]
    return b.call(aten.pad.default, x, around, "constant", fill), [0] * len(before)


TABLE: dict[str, Handler] = {
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "MatMul": matmul,
    "MaxPool": max_pool,
}
