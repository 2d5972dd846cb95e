"""Rules of operations that sum over channels: convolutions, linear layers, products, attention."""

from typing import Any

import numpy as np
from torch.fx import Node

from netsuke.nets.calls import Call
from netsuke.nets.channels.labelling import Labelling, broadcast, unknown
from netsuke.nets.channels.labels import Axes, Ints, fixed


def convolution(walk: Labelling, call: Call) -> Any:
    """weight: (out, in / groups, kernel…); transposed: (in, out / groups, kernel…)."""
    book, x, weight = walk.book, walk.of(call, "input"), walk.of(call, "weight")
    if len(x) != len(weight):
        return unknown(walk, call)  # an input without a batch
    for labels in (*weight[2:], *x[2:]):
        book.lock(labels, f"a kernel or picture dimension of {call.where}")
    groups = call.given["groups"]
    taken, made = (weight[0], weight[1]) if _is_transposed(call) else (weight[1], weight[0])
    if groups == 1:
        _contract(walk, call, x[1], taken)
        out = _produce(walk, call, made)
    elif len(taken) == 1 and not _is_transposed(call):
        out = _depthwise(walk, call, x[1], made)
    else:
        out = _grouped(walk, call, x[1])
    return (fixed(len(x[0])), out, *(fixed(n) for n in call.result.shape[2:]))


def linear(walk: Labelling, call: Call) -> Any:
    x, weight = walk.of(call, "input"), walk.of(call, "weight")
    _contract(walk, call, x[-1], weight[1])
    return (*x[:-1], _produce(walk, call, weight[0]))


def matmul(walk: Labelling, call: Call) -> Any:
    """mm, bmm, matmul, addmm: rows of one by columns of the other, leading dimensions as they come."""
    names = [n for n in ("mat1", "batch1", "self", "mat2", "batch2", "other") if n in call.raw]
    a, b = walk.of(call, names[0]), walk.of(call, names[-1])
    if len(a) < 2 or len(b) < 2:
        return unknown(walk, call)
    _contract(walk, call, a[-1], b[-2])
    if isinstance(call.raw[names[-1]], Node) and call.raw[names[-1]] in walk.static:
        walk.book.role(b[-1], "producer")
    shape = tuple(call.result.shape)
    out = (*broadcast(walk, [a[:-2], b[:-2]], shape[:-2], call.where), a[-2], b[-1])
    extra = walk.of(call, "self") if call.kind in ("addmm", "baddbmm") else None
    return out if extra is None else broadcast(walk, [out, extra], shape, call.where)


def attention(walk: Labelling, call: Call) -> Any:
    """Scaled dot-product attention: heads are independent; their size sets the scale and stays."""
    q, k, v = (walk.of(call, name) for name in ("query", "key", "value"))
    for labels in (q[-1], k[-1], v[-1], q[-2], k[-2], v[-2]):
        walk.book.lock(labels, f"head size of {call.where}")
    mask = walk.of(call, "attn_mask")
    batch = [_heads(a, q) for a in (q, k, v)] + ([mask[:-2]] if mask is not None else [])
    shape = tuple(call.result.shape)
    return (*broadcast(walk, batch, shape[:-2], call.where), *(fixed(n) for n in shape[-2:]))


def _heads(axes: Axes, query: Axes) -> Axes:
    """Leading dimensions; where several queries share a key (grouped heads), its label is repeated."""
    if len(axes) < 3 or len(axes[-3]) in (1, len(query[-3])):
        return axes[:-2]
    return (*axes[:-3], np.repeat(axes[-3], len(query[-3]) // len(axes[-3])))


def _depthwise(walk: Labelling, call: Call, x: Ints, made: Ints) -> Ints:
    """Each input channel makes its own output channels."""
    walk.book.join(made, np.repeat(x, len(made) // len(x)), call.where)
    return _produce(walk, call, made)


def _grouped(walk: Labelling, call: Call, x: Ints) -> Ints:
    """Every group gives up the same positions, so that their number can stay."""
    book, groups, weight = walk.book, call.given["groups"], walk.of(call, "weight")
    if _is_transposed(call):
        book.lock(x, f"a grouped {call.where}")
        for labels in weight[:2]:
            book.lock(labels, f"a grouped {call.where}")
        return fixed(call.result.shape[1])
    book.role(weight[1], "consumer")
    for part in np.split(x, groups):
        book.join(part, weight[1], call.where)
    first, *rest = np.split(weight[0], groups)
    for part in rest:
        book.join(first, part, call.where)
    return _produce(walk, call, weight[0])


def _contract(walk: Labelling, call: Call, x: Ints, taken: Ints) -> None:
    """Sum over channels: an input channel leaves with its weights."""
    names = ("weight", "mat1", "batch1", "self", "mat2", "batch2", "other")
    if walk.static.isdisjoint(call.raw[n] for n in names if isinstance(call.raw.get(n), Node)):
        for side in (x, taken):
            walk.book.lock(side, f"a sum over two activations in {call.where}")
    walk.book.role(taken, "consumer")
    walk.book.join(x, taken, call.where)


def _produce(walk: Labelling, call: Call, made: Ints) -> Ints:
    walk.book.role(made, "producer")
    bias = walk.of(call, "bias")
    return made if bias is None else walk.book.join(made, bias[-1], call.where)


def _is_transposed(call: Call) -> bool:
    return "transpose" in call.kind or bool(call.given.get("transposed", False))
