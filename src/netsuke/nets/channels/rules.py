"""What each operation does to the labels of its inputs. One short rule a family of operations."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from netsuke.nets.calls import Call
from netsuke.nets.channels.contractions import attention, convolution, einsum, linear, matmul
from netsuke.nets.channels.labelling import Labelling, Rule, broadcast, fixed_like, flat, unknown
from netsuke.nets.channels.labels import Axes, any_label, fixed
from netsuke.nets.channels.movement import Movement, follow, observe
from netsuke.nets.channels.norms import normalized, over_features, over_groups, reduced
from netsuke.nets.channels.recurrent import CELLS, GATES, recurrent, recurrent_cell
from netsuke.nets.graph import op


def label(walk: Labelling, call: Call) -> Any:
    """Labels of what the call gave. An operation we do not know locks all it was given."""
    inputs = call.node.all_input_nodes
    if inputs and walk.static.issuperset(inputs):
        walk.static.add(call.node)
    rule = RULES.get(call.kind) or (pointwise if _is_pointwise(call.node) else unknown)
    return rule(walk, call)


def placeholder(walk: Labelling, call: Call) -> Any:
    return fixed_like(call.result)


def get_attr(walk: Labelling, call: Call) -> Any:
    if not isinstance(call.result, Tensor):
        return None  # the training flag
    walk.static.add(call.node)
    return walk.book.parameter(call.raw["tensor"], call.result.shape)


def output(walk: Labelling, call: Call) -> Any:
    walk.lock(call, "it is an output of the network")
    return None


def getitem(walk: Labelling, call: Call) -> Any:
    whole = walk.of(call, "0")
    return whole[call.given["1"]] if isinstance(whole, list) else unknown(walk, call)


def pointwise(walk: Labelling, call: Call) -> Any:
    """Broadcasting: index i of one input meets index i of the others."""
    if not isinstance(call.result, Tensor):
        return unknown(walk, call)
    return broadcast(walk, walk.tensors(call), call.result.shape, call.where)


def carried(walk: Labelling, call: Call) -> Any:
    """Something else of the same shape as the first tensor given."""
    return walk.tensors(call)[0]


def parametric(walk: Labelling, call: Call) -> Any:
    """prelu: one slope for each channel, or one in all."""
    x, (slopes,) = walk.of(call, "self"), walk.of(call, "weight")
    if len(slopes) == 1 or len(x) < 2:
        return x
    return (x[0], walk.book.join(x[1], slopes, call.where), *x[2:])


def movement(walk: Labelling, call: Call) -> Any:
    """Every operation that only moves elements, by moving their numbers."""
    names = [n for n, v in call.given.items() if isinstance(v, Tensor) or _is_tensors(v)]
    if not set(names) <= {"self", "tensors"}:
        return unknown(walk, call)  # moved as another tensor says
    inputs = [a for n in names for a in flat(walk.of(call, n))]
    if not any(any_label(a) for a in inputs):
        return fixed_like(call.result)
    if call.node not in walk.moves:
        walk.moves[call.node] = _observed(call, names)

    batch = [d for d, size in enumerate(_sizes(call)) if _is_batch(size)]

    def choose(varying: list[int]) -> int:
        shape = walk.moves[call.node][0].source.shape
        varying = [d for d in varying if d not in batch] or varying
        key = tuple(shape[d] for d in varying)
        walk.splits[key] = len(varying)
        return varying[walk.choices.get(key, -1 if walk.narrow else 0)]

    results = [follow(m, inputs, walk.book, choose, call.where) for m in walk.moves[call.node]]
    for axes in results:
        _lock_symbolic(walk, call, axes)
    return results if isinstance(call.result, list | tuple) else results[0]


def _observed(call: Call, names: list[str]) -> list[Movement]:
    """Run the operation on numbers in place of the tensors it was given."""
    given = [call.given[n] for n in names]
    values = [v for g in given for v in ([g] if isinstance(g, Tensor) else g)]

    def move(numbered: list[Tensor]) -> Any:
        queue = iter(numbered)
        arguments = dict(call.given)
        for name, g in zip(names, given, strict=True):
            arguments[name] = next(queue) if isinstance(g, Tensor) else [next(queue) for _ in g]
        if "pad" in arguments and arguments.get("mode", "constant") == "constant":
            arguments["value"] = -1.0
        return call.node.target(**arguments)  # type: ignore[operator]

    return observe(move, tuple(tuple(v.shape) for v in values))


def _lock_symbolic(walk: Labelling, call: Call, axes: Axes) -> None:
    """A size that follows the batch cannot be rewritten, so the labels on it must stay; but one that is
    a multiple of it (heads folded into the batch) can be left to be inferred."""
    sizes = _sizes(call)
    folded = [s for s in sizes if isinstance(s, Node) and not _is_batch(s)]
    inferred = len(folded) == 1 and -1 not in sizes and call.kind in ("view", "reshape")
    for size, labels in zip(sizes, axes, strict=False):
        if isinstance(size, Node) and (_is_batch(size) or not inferred):
            walk.book.lock(labels, f"a size that depends on the batch in {call.where}")


def _sizes(call: Call) -> list[Any]:
    """The sizes a movement asks for, one a dimension; none where it asks for no shape."""
    for key in ("size", "shape"):
        sizes = call.raw.get(key)
        if isinstance(sizes, list | tuple) and len(sizes) == len(call.result.shape):
            return list(sizes)
    return []


def _is_batch(size: Any) -> bool:
    return isinstance(size, Node) and op(size) == "sym_size"


def strided(walk: Labelling, call: Call) -> Any:
    """slice: a step over labelled indices could not be written after a cut."""
    if call.given.get("step", 1) != 1:
        walk.book.lock(walk.of(call, "self")[call.given["dim"]], f"a stepped {call.where}")
    return movement(walk, call)


def rolled(walk: Labelling, call: Call) -> Any:
    """roll, flip-like moves by a constant: what is moved must keep its size."""
    source = walk.of(call, "self")
    for dim in call.given["dims"] or range(len(source)):
        walk.book.lock(source[dim], call.where)
    return movement(walk, call)


def indexed(walk: Labelling, call: Call) -> Any:
    """x[i, j] by tensors of whole numbers: what is looked up stays, the other dimensions come through."""
    x, given = walk.of(call, "self"), call.given["indices"]
    at = [d for d, index in enumerate(given) if index is not None]
    whole = all(given[d].dtype not in (torch.bool, torch.uint8) for d in at)
    if not whole or at != list(range(at[0], at[-1] + 1)):
        return unknown(walk, call)
    for dim in at:
        walk.book.lock(x[dim], f"what is looked up by {call.where}")
    count = len(call.result.shape) - (len(x) - len(at))
    made = call.result.shape[at[0] : at[0] + count]
    return (*x[: at[0]], *(fixed(n) for n in made), *x[at[-1] + 1 :])


def created(walk: Labelling, call: Call) -> Any:
    """zeros, full, …: constant channels may leave, by rewriting the size."""
    if not isinstance(call.result, Tensor):
        return None
    sizes = call.raw.get("size", call.result.shape)
    return tuple(
        fixed(n) if isinstance(s, Node) else walk.book.fresh(n)
        for s, n in zip(sizes, call.result.shape, strict=True)
    )


def pooled(walk: Labelling, call: Call) -> Any:
    """Pooling and resizing: channels come through, picture dimensions are fixed."""
    x = walk.tensors(call)[0]
    first = call.result if isinstance(call.result, Tensor) else call.result[0]
    picture = int(call.kind[call.kind.rindex("d") - 1])
    if len(x) != picture + 2:
        return unknown(walk, call)  # an input without a batch
    for labels in x[2:]:
        walk.book.lock(labels, call.where)
    out = (*x[:2], *(fixed(n) for n in first.shape[2:]))
    return out if isinstance(call.result, Tensor) else [out for _ in call.result]


def embedding(walk: Labelling, call: Call) -> Any:
    weight = walk.of(call, "weight")
    walk.book.lock(weight[0], f"the vocabulary of {call.where}")
    walk.book.role(weight[1], "producer")
    return (*walk.of(call, "indices"), weight[1])


def gated(walk: Labelling, call: Call) -> Any:
    """glu: the second half gates the first."""
    x, dim = walk.of(call, "self"), call.given["dim"]
    first, second = np.split(x[dim], 2)
    dim %= len(x)
    return (*x[:dim], walk.book.join(first, second, call.where), *x[dim + 1 :])


def quantized(walk: Labelling, call: Call) -> Any:
    """Our own quantizer: a scale for each index leaves with its index."""
    x, axis = walk.of(call, "x"), call.given["axis"]
    if axis >= 0:
        for name in ("scale", "zero_point"):
            walk.book.join(x[axis], walk.of(call, name)[0], call.where)
    return x


def _is_tensors(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(v, Tensor) for v in value)
    )


def _is_pointwise(node: Node) -> bool:
    return (
        isinstance(node.target, torch._ops.OpOverload) and torch.Tag.pointwise in node.target.tags
    )


RULES: dict[str, Rule] = {
    "placeholder": placeholder, "get_attr": get_attr, "output": output, "getitem": getitem,
    "linear": linear, "scaled_dot_product_attention": attention, "embedding": embedding,
    "glu": gated, "prelu": parametric, "quantize": quantized, "slice": strided, "roll": rolled,
    "group_norm": over_groups, "index": indexed, "einsum": einsum,
}  # fmt: skip

_FAMILIES: tuple[tuple[Rule, str], ...] = (
    (convolution, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution"),
    (matmul, "matmul mm bmm addmm baddbmm"),
    (normalized, "batch_norm instance_norm"),
    (over_features, "layer_norm rms_norm"),
    (reduced, "mean sum amax amin prod var std logsumexp softmax log_softmax _softmax linalg_vector_norm"),
    (recurrent, " ".join(GATES)),
    (recurrent_cell, " ".join(CELLS)),
    (pooled, "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d "
             "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d "
             "upsample_nearest2d upsample_bilinear2d _upsample_bilinear2d_aa upsample_bicubic2d"),
    (movement, "view reshape _unsafe_view permute transpose t numpy_T cat concat stack "
               "constant_pad_nd pad narrow select split split_with_sizes chunk unbind expand repeat "
               "flatten unflatten unsqueeze squeeze movedim moveaxis flip pixel_shuffle "
               "pixel_unshuffle channel_shuffle repeat_interleave tile"),
    (carried, "dropout feature_dropout alpha_dropout to type_as _to_copy clone contiguous detach alias "
              "lift_fresh_copy zeros_like ones_like full_like"),
    (pointwise, "where relu6 hardswish expand_as masked_fill rsub log_sigmoid __and__ __or__"),
    (created, "zeros ones full new_zeros new_ones new_full"),
)  # fmt: skip
RULES.update({name: rule for rule, names in _FAMILIES for name in names.split()})
