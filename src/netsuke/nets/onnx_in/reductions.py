"""Operations along dimensions: sums, softmax, the place of the largest, einsum."""

from typing import Any

from netsuke.nets.onnx_in.build import Builder, aten
from netsuke.nets.onnx_in.call import Call, Handler, plain
from netsuke.nets.onnx_in.values import UnreadableError, Value


def softmax(target: Any) -> Handler:
    """Before opset 13 it is over all dimensions from ``axis`` on, flattened."""

    def convert(b: Builder, n: Call) -> Value:
        x = n.value(0)
        axis = n.attr("axis", -1 if n.opset >= 13 else 1)
        axis = axis + x.rank if axis < 0 else axis
        if n.opset >= 13 or axis == x.rank - 1:
            return b.call(target, x, axis)
        flat = b.call(aten.flatten.using_ints, x, axis)
        result = b.call(target, flat, axis)
        return b.call(aten.reshape.default, result, [b.size(x, d) for d in range(x.rank)])

    return convert


def reduction(target: Any) -> Handler:
    """Over ``axes`` (an input since opset 13 or 18), over everything where there are none."""

    def convert(b: Builder, n: Call) -> Value:
        x = n.value(0)
        axes = plain(n.ints(1, "axes"))
        if not axes:
            if n.attr("noop_with_empty_axes", 0):
                return x
            axes = list(range(x.rank))
        return b.call(target, x, axes, bool(n.attr("keepdims", 1)))

    return convert


def l2(b: Builder, n: Call) -> Value:
    x, axes = n.value(0), plain(n.ints(1, "axes"))
    axes = axes or list(range(x.rank))
    return b.call(aten.linalg_vector_norm.default, x, 2, axes, bool(n.attr("keepdims", 1)))


def extreme(target: Any) -> Handler:
    """The index of the largest or smallest along an axis."""

    def convert(b: Builder, n: Call) -> Value:
        if n.attr("select_last_index", 0):
            raise UnreadableError("which takes the last of equal elements")
        return b.call(target, n.value(0), n.attr("axis", 0), bool(n.attr("keepdims", 1)))

    return convert


def einsum(b: Builder, n: Call) -> Value:
    values = [n.value(i) for i in range(len(n.inputs))]
    return b.call(aten.einsum.default, n.attr("equation"), values)


TABLE: dict[str, Handler] = {
    "ArgMax": extreme(aten.argmax.default),
    "ArgMin": extreme(aten.argmin.default),
    "Einsum": einsum,
    "LogSoftmax": softmax(aten.log_softmax.int),
    "ReduceL2": l2,
    "ReduceMax": reduction(aten.amax.default),
    "ReduceMean": reduction(aten.mean.dim),
    "ReduceMin": reduction(aten.amin.default),
    "ReduceSum": reduction(aten.sum.dim_IntList),
    "Softmax": softmax(aten.softmax.int),
}
