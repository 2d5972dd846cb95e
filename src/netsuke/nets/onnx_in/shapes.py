"""Shape arithmetic on whole numbers of which some follow the batch, by numpy on objects."""

from typing import Any

import numpy as np
import torch

from netsuke.nets.onnx_in.build import Builder
from netsuke.nets.onnx_in.call import Call, Handler, plain, sizes
from netsuke.nets.onnx_in.values import Operand, Size, Sizes, UnreadableError


def shape(b: Builder, n: Call) -> Any:
    """The only way from data to sizes; a constant where no dimension follows the batch."""
    x = n.value(0)
    dims: list[Any] = [b.size(x, d) for d in range(x.rank)]
    return settled(b, np.array(dims, dtype=object)[n.attr("start", 0) : n.attr("end")])


def settled(b: Builder, numbers: Any) -> Any:
    """A constant value where all are plain numbers, else the numbers."""
    array = np.asarray(numbers, dtype=object)
    if any(isinstance(v, Size) for v in array.reshape(-1)):
        return array
    kind = torch.bool if array.size and isinstance(array.reshape(-1)[0], bool) else torch.int64
    return b.constant(torch.tensor(array.tolist(), dtype=kind))


def gather(b: Builder, n: Call) -> Sizes:
    index = n.constant(1)
    return np.take(sizes(n, 0), index.numpy(), axis=n.attr("axis", 0))


def concat(b: Builder, n: Call) -> Sizes:
    return np.concatenate([sizes(n, i) for i in range(len(n.inputs))], n.attr("axis", 0))


def cut(b: Builder, n: Call) -> Sizes:
    starts, ends = plain(n.ints(1, "starts")), plain(n.ints(2, "ends"))
    steps = plain(n.ints(4, "steps"), [1])
    return sizes(n, 0)[starts[0] : ends[0] : steps[0]]


def unsqueeze(b: Builder, n: Call) -> Sizes:
    return np.expand_dims(sizes(n, 0), tuple(plain(n.ints(1, "axes"))))


def squeeze(b: Builder, n: Call) -> Sizes:
    axes = plain(n.ints(1, "axes"))
    return np.squeeze(sizes(n, 0), tuple(axes) if axes else None)


def reshape(b: Builder, n: Call) -> Sizes:
    return sizes(n, 0).reshape(plain(n.ints(1)))


def same(b: Builder, n: Call) -> Sizes:
    return sizes(n, 0)


def equal(b: Builder, n: Call) -> Sizes:
    """A size that follows the batch equals no number (the −1 that exporters ask for least of all)."""
    pairs = np.broadcast_arrays(sizes(n, 0), sizes(n, 1))
    both = zip(*map(np.ravel, pairs), strict=True)
    flat = [x is y if Size in (type(x), type(y)) else x == y for x, y in both]
    return np.array(flat, dtype=object).reshape(pairs[0].shape)


def where(b: Builder, n: Call) -> Sizes:
    return np.where(n.constant(0).numpy(), sizes(n, 1), sizes(n, 2))


def product(b: Builder, n: Call) -> Sizes:
    result: Any = np.prod(sizes(n, 0))
    return np.array([result] if n.attr("keepdims", 1) else result, dtype=object)


def arithmetic(function: Any) -> Handler:
    return lambda b, n: function(sizes(n, 0), sizes(n, 1))


def convert(b: Builder, n: Call) -> Operand:
    """Run an operation whose data is sizes. Raises UnreadableError where it is no shape arithmetic."""
    if n.op not in TABLE:
        raise UnreadableError("which computes with the size of the batch as data")
    return settled(b, TABLE[n.op](b, n))


TABLE: dict[str, Handler] = {
    "Add": arithmetic(np.add),
    "Cast": same,
    "Concat": concat,
    "Div": arithmetic(np.floor_divide),
    "Equal": equal,
    "Gather": gather,
    "Identity": same,
    "Mul": arithmetic(np.multiply),
    "ReduceProd": product,
    "Reshape": reshape,
    "Slice": cut,
    "Squeeze": squeeze,
    "Sub": arithmetic(np.subtract),
    "Unsqueeze": unsqueeze,
    "Where": where,
}
