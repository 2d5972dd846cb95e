"""Rules of normalizations and of reductions: what computes one number from many channels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from netsuke.nets.calls import Call
from netsuke.nets.channels.labelling import Labelling
from netsuke.nets.channels.labels import Ints, fixed

REDUCTIONS = ("mean", "sum", "amax", "amin", "var", "std", "linalg_vector_norm")
"""What is computed of the channels that stay when others leave."""
SAME = ("to", "type_as", "_to_copy", "clone", "contiguous", "detach", "alias", "expand_as")


def normalized(walk: Labelling, call: Call) -> Any:
    """batch_norm, instance_norm: parameters and statistics leave with their channel."""
    x = walk.of(call, "input")
    channels = _with_parameters(walk, call, x[1], ("weight", "bias", "running_mean", "running_var"))
    out = (x[0], channels, *x[2:])
    return [out, (), ()] if isinstance(call.result, tuple) else out


def over_features(walk: Labelling, call: Call) -> Any:
    """layer_norm, rms_norm: the statistics are those of the features that stay."""
    x = list(walk.of(call, "input"))
    first = len(x) - len(call.given["normalized_shape"])
    for name in ("weight", "bias"):
        for i, labels in enumerate(walk.of(call, name) or ()):
            x[first + i] = walk.book.join(x[first + i], labels, call.where)
    return tuple(x)


def over_groups(walk: Labelling, call: Call) -> Any:
    """group_norm: the same places leave every group, or, where groups are small, whole groups."""
    x = walk.of(call, "input")
    channels = _with_parameters(walk, call, x[1], ("weight", "bias"))
    parts = np.split(channels, call.given["num_groups"])
    if is_by_place(len(channels), len(parts)):
        for part in parts[1:]:
            walk.book.join(parts[0], part, call.where)
    else:
        for part in parts:
            walk.book.join(part[:-1], part[1:], call.where)
    return (x[0], channels, *x[2:])


def is_by_place(channels: int, groups: int) -> bool:
    """Whether places in all groups, not whole groups, leave: whatever there are more of."""
    return channels // groups >= groups


def reduced(walk: Labelling, call: Call) -> Any:
    """mean, sum, amax, softmax, …: what is mixed must stay, the rest comes through.

    But where the number only goes back onto the channels it is computed of (a normalization written
    out), they may leave: it is then that of the channels that stay.
    """
    x = walk.of(call, "self")
    over = _dims(call, len(x))
    if call.node not in walk.statistics:
        for dim in over:
            walk.book.lock(x[dim], call.where)
    first = call.result if isinstance(call.result, Tensor) else call.result[0]
    kept = len(first.shape) == len(x)
    out = tuple(
        fixed(first.shape[i]) if i in over else d for i, d in enumerate(x) if kept or i not in over
    )
    return out if isinstance(call.result, Tensor) else [out for _ in call.result]


def statistics(calls: Sequence[Call]) -> frozenset[Node]:
    """Reductions over one dimension whose result only scales or shifts what it is computed of.

    As in x · rsqrt(mean(x²) + eps), which is RMSNorm (Zhang and Sennrich, 2019) written out.
    """
    shapes = {c.node: tuple(c.result.shape) for c in calls if isinstance(c.result, Tensor)}
    found = set()
    for call in calls:
        if call.kind in REDUCTIONS and call.given.get("keepdim"):
            rank = len(shapes[call.node])
            over = _dims(call, rank)
            source = call.raw["self"]
            if len(over) == 1 and _comes_back(call.node, source, next(iter(over)) - rank, shapes):
                found.add(call.node)
    return frozenset(found)


def _comes_back(node: Node, source: Node, dim: int, shapes: dict[Node, tuple[int, ...]]) -> bool:
    """Whether all that reads ``node`` computes with what ``source`` is made of, element by element."""
    root, size = _root(source, dim, shapes), shapes[source][dim]
    numbers, waiting = {node}, [node]
    while waiting:
        for user in waiting.pop().users:
            if user in numbers:
                continue
            if not _is_alike(user) or len(shapes[user]) != len(shapes[source]):
                return False
            others = [
                n for n in user.all_input_nodes if n not in numbers and _has(n, dim, size, shapes)
            ]
            if others and any(_root(n, dim, shapes) is not root for n in others):
                return False
            if not others or _kind(user) == "expand_as":
                numbers.add(user)
                waiting.append(user)
    return True


def _root(node: Node, dim: int, shapes: dict[Node, tuple[int, ...]]) -> Node:
    """What a node is made of, element by element along ``dim``."""
    size = shapes[node][dim]
    while _is_alike(node):
        made_of = {n for n in node.all_input_nodes if _has(n, dim, size, shapes)}
        if len(made_of) != 1:
            break
        node = made_of.pop()
    return node


def _has(node: Node, dim: int, size: int, shapes: dict[Node, tuple[int, ...]]) -> bool:
    """Whether it varies along that dimension, and is no parameter."""
    shape = shapes.get(node, ())
    return node.op != "get_attr" and len(shape) >= -dim and shape[dim] == size


def _is_alike(node: Node) -> bool:
    tags = getattr(node.target, "tags", ())
    return torch.Tag.pointwise in tags or _kind(node) in SAME


def _kind(node: Node) -> str:
    target = node.target
    return target._schema.name.split("::")[1] if isinstance(target, torch._ops.OpOverload) else ""


def _dims(call: Call, rank: int) -> set[int]:
    dims = call.given.get("dim")
    if dims is None or dims == []:
        return set(range(rank))
    return {d % rank for d in ([dims] if isinstance(dims, int) else dims)} if rank else set()


def _with_parameters(walk: Labelling, call: Call, channels: Ints, names: tuple[str, ...]) -> Ints:
    for name in names:
        labels = walk.of(call, name)
        if labels is not None:
            channels = walk.book.join(channels, labels[0], call.where)
    return channels
