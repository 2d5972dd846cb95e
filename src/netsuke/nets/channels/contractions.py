"""Rules of operations that sum over channels: convolutions, linear layers, products, attention."""

from typing import Any

import numpy as np
from torch.fx import Node

from netsuke.nets.calls import Call
from netsuke.nets.channels.labelling import Labelling, broadcast, unknown
from netsuke.nets.channels.labels import Axes, Ints, fixed
from netsuke.nets.graph import module_name


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
    elif is_depthwise(call):
        out = _depthwise(walk, call, x[1])
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
    if walk.narrow:
        for labels in (*a[:-2], *b[:-2]):
            walk.book.lock(labels, f"what there are several products of in {call.where}")
    elif len(a) == len(b) > 3:  # heads leave, not what is in them
        for labels in (a[-2], b[-1]):
            walk.book.lock(labels, f"head size of {call.where}")
    if isinstance(call.raw[names[-1]], Node) and call.raw[names[-1]] in walk.static:
        walk.book.role(b[-1], "producer")
    shape = tuple(call.result.shape)
    out = (*broadcast(walk, [a[:-2], b[:-2]], shape[:-2], call.where), a[-2], b[-1])
    extra = walk.of(call, "self") if call.kind in ("addmm", "baddbmm") else None
    return out if extra is None else broadcast(walk, [out, extra], shape, call.where)


def attention(walk: Labelling, call: Call) -> Any:
    """Scaled dot-product attention: heads are independent. They leave whole, or get narrower alike:
    queries with keys, and values with what takes them in."""
    q, k, v = (walk.of(call, name) for name in ("query", "key", "value"))
    for labels in (q[-2], k[-2], v[-2]):
        walk.book.lock(labels, f"the steps of {call.where}")
    sizes = (*q[:-2], *k[:-2], *v[:-2]) if walk.narrow else (q[-1], k[-1], v[-1])
    for labels in sizes if len(q) > 3 else ():  # without heads, there is but the width
        walk.book.lock(labels, f"head size of {call.where}")
    walk.book.join(q[-1], k[-1], call.where)
    mask = walk.of(call, "attn_mask")
    batch = [_heads(a, q) for a in (q, k, v)] + ([mask[:-2]] if mask is not None else [])
    shape = tuple(call.result.shape)
    return (*broadcast(walk, batch, shape[:-2], call.where), fixed(shape[-2]), v[-1])


def einsum(walk: Labelling, call: Call) -> Any:
    """Letters are dimensions: what a letter stands for leaves wherever it stands."""
    equation, inputs = call.given["equation"].replace(" ", ""), walk.of(call, "tensors")
    taken, _, made = equation.partition("->")
    terms = taken.split(",")
    if not made or "." in equation or any(len(set(t)) < len(t) for t in terms):
        return unknown(walk, call)
    letters: dict[str, Ints] = {}
    for term, axes in zip(terms, inputs, strict=True):
        for letter, labels in zip(term, axes, strict=True):
            known = letters.get(letter, labels)
            letters[letter] = walk.book.join(known, labels, call.where)
    static = [n in walk.static for n in call.raw["tensors"]]
    for term, axes, is_static in zip(terms, inputs, static, strict=True):
        for letter, labels in zip(term, axes, strict=True) if is_static else ():
            walk.book.role(labels, "producer" if letter in made else "consumer")
    if not any(static):
        _lock_products(walk, call, terms, made, letters)
    return tuple(letters[letter] for letter in made)


def _lock_products(
    walk: Labelling, call: Call, terms: list[str], made: str, letters: dict[str, Ints]
) -> None:
    """As of matrices: where there are heads, they leave whole, or what is in them."""
    if not walk.narrow and len(made) <= 3:
        return
    for letter, labels in letters.items():
        is_batch = letter in made and all(letter in term for term in terms)
        if is_batch == walk.narrow:
            walk.book.lock(labels, f"head size of {call.where}")


def _heads(axes: Axes, query: Axes) -> Axes:
    """Leading dimensions; where several queries share a key (grouped heads), its label is repeated."""
    if len(axes) < 3 or len(axes[-3]) in (1, len(query[-3])):
        return axes[:-2]
    return (*axes[:-3], np.repeat(axes[-3], len(query[-3]) // len(axes[-3])))


def is_depthwise(call: Call) -> bool:
    """Whether each input channel has a group of its own."""
    return bool(call.given["groups"] == call.given["input"].shape[1])


def _depthwise(walk: Labelling, call: Call, x: Ints) -> Ints:
    """Each input channel makes its own output channels."""
    weight = walk.of(call, "weight")
    made, count = weight[0], call.result.shape[1]
    if not _is_transposed(call):
        walk.book.join(made, np.repeat(x, count // len(x)), call.where)
        return _produce(walk, call, made)
    walk.book.lock(weight[1], f"output channels of each input channel in {call.where}")
    walk.book.role(made, "producer")
    walk.book.join(x, made, call.where)
    return _biased(walk, call, np.repeat(made, count // len(x)))


def _grouped(walk: Labelling, call: Call, x: Ints) -> Ints:
    """Every group gives up the same positions, so that their number can stay."""
    book, groups, weight = walk.book, call.given["groups"], walk.of(call, "weight")
    taken, made = (weight[0], weight[1]) if _is_transposed(call) else (weight[1], weight[0])
    book.role(taken, "consumer")
    book.role(made, "producer")
    first = taken[: len(x) // groups]
    _alike(walk, call, taken, groups if len(taken) == len(x) else 1)
    for part in np.split(x, groups):
        book.join(part, first, call.where)
    out = np.tile(made, call.result.shape[1] // len(made))
    _alike(walk, call, out, groups)
    return _biased(walk, call, out)


def _alike(walk: Labelling, call: Call, labels: Ints, groups: int) -> None:
    """The same positions of all groups leave together."""
    first, *rest = np.split(labels, groups)
    for part in rest:
        walk.book.join(first, part, call.where)


def _contract(walk: Labelling, call: Call, x: Ints, taken: Ints) -> None:
    """Sum over channels: an input channel leaves with its weights."""
    names = ("weight", "mat1", "batch1", "self", "mat2", "batch2", "other")
    products = walk.static.isdisjoint(
        call.raw[n] for n in names if isinstance(call.raw.get(n), Node)
    )
    for side in (x, taken) if products and len(call.result.shape) > 3 and not walk.narrow else ():
        walk.book.lock(side, f"a sum over two activations in {call.where}")
    walk.book.role(taken, "consumer")
    walk.book.join(x, taken, call.where)


def _produce(walk: Labelling, call: Call, made: Ints) -> Ints:
    walk.book.role(made, "producer")
    weight = call.raw.get("weight")
    if isinstance(weight, Node) and weight.op != "get_attr" and not made.any():
        reason = f"its weight is computed, by {weight.name}, in a way that is not followed"
        walk.book.protected.setdefault(module_name(call.node) or call.node.name, reason)
    return _biased(walk, call, made)


def _biased(walk: Labelling, call: Call, made: Ints) -> Ints:
    bias = walk.of(call, "bias")
    return made if bias is None else walk.book.join(made, bias[-1], call.where)


def _is_transposed(call: Call) -> bool:
    return "transpose" in call.kind or bool(call.given.get("transposed", False))
