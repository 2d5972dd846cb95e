"""Operations that move data about, and those that only pass it on."""

from typing import Any

import numpy as np
import torch

from netsuke.nets.onnx_in.build import Builder, aten
from netsuke.nets.onnx_in.call import Call, Handler, plain, sizes
from netsuke.nets.onnx_in.values import Size, UnreadableError, Value


def identity(b: Builder, n: Call) -> Any:
    return n.inputs[0]


def reshape(b: Builder, n: Call) -> Value:
    """0 keeps a dimension, −1 takes what is left."""
    x, shape = n.value(0), n.ints(1, "shape") or []
    if not n.attr("allowzero", 0):
        shape = [b.size(x, d) if s == 0 else s for d, s in enumerate(shape)]
    return b.call(aten.reshape.default, x, _for_any_batch(b, x, shape))


def _for_any_batch(b: Builder, x: Value, shape: list[int | Size]) -> list[int | Size]:
    """Sizes that a file with a batch of one has as plain numbers, the batch put in their front.

    They are too few for a larger batch: (1, 4, 8) for 2·32 elements, or (1, −1, 8), stand for
    (batch, 4, 8) and (batch, −1, 8). Whether that was meant, comparing outputs will tell.
    """
    if b.written != 1 or not shape or any(isinstance(s, Size) for s in shape):
        return shape
    grows = len({t.numel() for t in x.seen}) > 1
    if grows and (-1 not in shape or shape[0] == 1):
        return [shape[0] * b.batch(), *shape[1:]]
    return shape


def flatten(b: Builder, n: Call) -> Value:
    x, axis = n.value(0), n.attr("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    if axis == 1:
        return x if x.rank == 2 else b.call(aten.flatten.using_ints, x, 1)
    rest = 1
    for d in range(axis, x.rank):
        rest = rest * b.size(x, d)  # type: ignore[assignment]
    return b.call(aten.reshape.default, x, [-1, rest])


def transpose(b: Builder, n: Call) -> Value:
    x = n.value(0)
    return b.call(aten.permute.default, x, n.attr("perm", list(reversed(range(x.rank)))))


def concat(b: Builder, n: Call) -> Value:
    """A constant (ViT's class token) written for a batch of one is repeated for each sample."""
    values, axis = [n.value(i) for i in range(len(n.inputs))], n.attr("axis")
    if axis not in (0, -values[0].rank) and len({v.shape[0] for v in values}) > 1:
        repeat = [b.batch(), *[-1] * (values[0].rank - 1)]
        values = [b.call(aten.expand.default, v, repeat) if v.shape[0] == 1 else v for v in values]
    return b.call(aten.cat.default, values, axis)


def slices(b: Builder, n: Call) -> Value:
    x = n.value(0)
    starts, ends = n.ints(1, "starts") or [], n.ints(2, "ends") or []
    axes = plain(n.ints(3, "axes"), list(range(len(starts))))
    steps = plain(n.ints(4, "steps"), [1] * len(starts))
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step > 0:
            x = b.call(aten.slice.Tensor, x, axis, start, end, step)
        else:
            x = b.call(
                aten.index_select.default, x, axis, _backwards(b, x, axis, (start, end, step))
            )
    return x


def _backwards(b: Builder, x: Value, axis: int, cut: tuple[Any, ...]) -> Value:
    """The indices of a slice that goes backwards, which torch has not."""
    if isinstance(b.size(x, axis), Size) or any(isinstance(c, Size) for c in cut):
        raise UnreadableError("which goes backwards over the batch")
    return b.constant(torch.tensor(range(*slice(*cut).indices(x.shape[axis]))))


def split(b: Builder, n: Call) -> tuple[Value, ...]:
    x, axis = n.value(0), n.attr("axis", 0)
    parts = plain(n.ints(1, "split"))
    if not parts:
        count = n.attr("num_outputs", n.outputs)
        each = -(-x.shape[axis] // count)
        parts = [min(each, x.shape[axis] - each * i) for i in range(count)]
    result: tuple[Value, ...] = b.call(aten.split_with_sizes.default, x, parts, axis)
    return result


def squeeze(b: Builder, n: Call) -> Value:
    x = n.value(0)
    axes = plain(n.ints(1, "axes"), [d for d, size in enumerate(x.shape) if size == 1])
    return b.call(aten.squeeze.dims, x, axes)


def unsqueeze(b: Builder, n: Call) -> Value:
    x = n.value(0)
    axes = plain(n.ints(1, "axes"))
    for axis in sorted(a % (x.rank + len(axes)) for a in axes):
        x = b.call(aten.unsqueeze.default, x, axis)
    return x


def gather(b: Builder, n: Call) -> Value:
    """A table of constants looked up is an embedding; one fixed index selects."""
    x, index, axis = n.value(0), n.value(1), n.attr("axis", 0)
    if x.constant and not index.constant and axis == 0 and x.rank == 2:
        return b.call(aten.embedding.default, b.parameter(x) if x.name else x, index)
    if index.constant and index.rank == 0:
        return b.call(aten.select.int, x, axis, int(index.first))
    return b.call(aten.index.Tensor, x, [None] * (axis % x.rank) + [index])


def gather_elements(b: Builder, n: Call) -> Value:
    return b.call(aten.gather.default, n.value(0), n.attr("axis", 0), n.value(1))


def gather_nd(b: Builder, n: Call) -> Value:
    """Each row of indices is a place in the first dimensions."""
    if n.attr("batch_dims", 0):
        raise UnreadableError("which looks up by sample")
    index = n.value(1)
    places = [b.call(aten.select.int, index, -1, i) for i in range(index.shape[-1])]
    return b.call(aten.index.Tensor, n.value(0), places)


def expand(b: Builder, n: Call) -> Value:
    """Broadcasts both ways: a size of 1 keeps what the data has."""
    x, given = n.value(0), n.ints(1) or []
    shape = [*[1] * (x.rank - len(given)), *given]
    new = len(shape) - x.rank
    kept = [-1 if d >= new and s == 1 else s for d, s in enumerate(shape)]
    return b.call(aten.expand.default, x, kept)


def tile(b: Builder, n: Call) -> Value:
    return b.call(aten.repeat.default, n.value(0), n.ints(1))


def constant_of_shape(b: Builder, n: Call) -> Value:
    fill = n.attr("value", torch.zeros(1))
    return b.call(aten.full.default, n.ints(0), fill.item(), dtype=fill.dtype)


def constant(b: Builder, n: Call) -> Value:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if (given := n.attr(name)) is not None:
            kind = torch.float32 if "float" in name else torch.int64
            return b.constant(given if name == "value" else torch.tensor(given, dtype=kind))
    raise UnreadableError("which holds no numbers")


def ranges(b: Builder, n: Call) -> Value:
    if any(isinstance(i, np.ndarray) for i in n.inputs):
        start, limit, delta = (sizes(n, i).item() for i in range(3))
        return b.call(aten.arange.start_step, start, limit, delta)
    start, limit, delta = (n.constant(i) for i in range(3))
    return b.constant(torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype))


def trilu(b: Builder, n: Call) -> Value:
    target = aten.triu.default if n.attr("upper", 1) else aten.tril.default
    return b.call(target, n.value(0), int(n.number(1, "k", 0)))


def cumsum(b: Builder, n: Call) -> Value:
    if n.attr("exclusive", 0) or n.attr("reverse", 0):
        raise UnreadableError("which is exclusive or reversed")
    return b.call(aten.cumsum.default, n.value(0), int(n.number(1, "axis", 0)))


TABLE: dict[str, Handler] = {
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "CumSum": cumsum,
    "Dropout": identity,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Identity": identity,
    "Range": ranges,
    "Reshape": reshape,
    "Slice": slices,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Trilu": trilu,
    "Unsqueeze": unsqueeze,
}
