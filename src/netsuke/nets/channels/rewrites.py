"""Constants of the forward that name sizes, rewritten for the channels that stay."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from netsuke.nets.calls import bind, kind
from netsuke.nets.channels.labels import Axes, Ints
from netsuke.nets.channels.norms import is_by_place


@dataclass(frozen=True)
class Edit:
    """One node to rewrite. axes: units of every node's dimensions. stays: by unit number."""

    node: Node
    axes: Mapping[str, Any]
    stays: np.ndarray

    def get(self, name: str) -> Any:
        return bind(self.node, self.node.args, self.node.kwargs).get(name)

    def set(self, **new: Any) -> None:
        """Give arguments by name; all others stay as they are."""
        arguments = bind(self.node, self.node.args, self.node.kwargs) | new
        schema = self.node.target._schema.arguments  # type: ignore[union-attr]
        self.node.args = tuple(arguments[a.name] for a in schema if not a.kwarg_only)
        self.node.kwargs = {a.name: arguments[a.name] for a in schema if a.kwarg_only}

    def count(self, units: Ints) -> int:
        """How many of these indices stay."""
        return int(self.stays[units].sum())

    @property
    def out(self) -> Axes:
        return self.axes[self.node.name]

    def axis(self, name: str, dim: int) -> Ints:
        """Units along one dimension of an argument."""
        return self.axes[self.get(name).name][dim]


def rewrite(edit: Edit) -> None:
    """Change the node's arguments to the sizes that will be."""
    change = REWRITES.get(kind(edit.node))
    if change is not None:
        change(edit)


def _sizes(edit: Edit) -> None:
    """view, reshape, expand, zeros: the sizes asked for, dimension by dimension of the output."""
    name = next(n for n in ("size", "shape") if edit.get(n) is not None)
    sizes = edit.get(name)
    edit.set(**{name: [_size(edit, s, u) for s, u in zip(sizes, edit.out, strict=True)]})


def _unflatten(edit: Edit) -> None:
    sizes = edit.get("sizes")
    dim = edit.get("dim") % (len(edit.out) - len(sizes) + 1)
    made = edit.out[dim : dim + len(sizes)]
    edit.set(sizes=[_size(edit, s, u) for s, u in zip(sizes, made, strict=True)])


def _size(edit: Edit, size: Any, units: Ints) -> Any:
    if isinstance(size, Node):  # of which units leave: heads folded into the batch
        return -1 if (units >= 0).any() else size
    return edit.count(units) if size >= 0 else size


def _slice(edit: Edit) -> None:
    units = edit.axis("self", edit.get("dim"))
    start, end, _ = slice(edit.get("start"), edit.get("end")).indices(len(units))
    if (units >= 0).any():
        edit.set(start=edit.count(units[:start]), end=edit.count(units[:end]))


def _narrow(edit: Edit) -> None:
    units, start = edit.axis("self", edit.get("dim")), edit.get("start")
    if (units >= 0).any():
        kept = edit.count(units[start : start + edit.get("length")])
        edit.set(start=edit.count(units[:start]), length=kept)


def _pad(edit: Edit) -> None:
    """Amounts come in pairs, last dimension first; below zero they crop."""
    pad = list(edit.get("pad"))
    for i in range(0, len(pad), 2):
        dim = len(edit.out) - 1 - i // 2
        pad[i] = _amount(edit, pad[i], dim, slice(0, abs(pad[i])))
        pad[i + 1] = _amount(edit, pad[i + 1], dim, slice(-abs(pad[i + 1]), None))
    edit.set(pad=pad)


def _amount(edit: Edit, amount: int, dim: int, part: slice) -> int:
    if amount == 0:
        return 0
    if amount > 0:
        return edit.count(edit.out[dim][part])
    return -edit.count(edit.axis("self", dim)[part])


def _split(edit: Edit) -> None:
    """split, chunk, split_with_sizes: the parts may come to differ, so name each one's size."""
    parts = edit.axes[edit.node.name]
    dim = edit.get("dim") % len(parts[0])
    if any((part[dim] >= 0).any() for part in parts):
        sizes = [edit.count(part[dim]) for part in parts]
        edit.node.args = (edit.get("self"), sizes, dim)
        edit.node.kwargs = {}
        edit.node.target = torch.ops.aten.split_with_sizes.default


def _groups(edit: Edit) -> None:
    """A depthwise convolution has as many groups as channels come in; a norm may be of whole groups."""
    name = "num_groups" if edit.get("groups") is None else "groups"
    units, groups = edit.axis("input", 1), edit.get(name)
    if groups == len(units) > 1 or (name == "num_groups" and not is_by_place(len(units), groups)):
        edit.set(**{name: edit.count(units) * groups // len(units)})


def _normalized(edit: Edit) -> None:
    dims = range(-len(edit.get("normalized_shape")), 0)
    edit.set(normalized_shape=[edit.count(edit.axis("input", d)) for d in dims])


def _attention(edit: Edit) -> None:
    """Narrower heads are scaled as they were."""
    width = edit.axis("query", -1)
    if edit.get("scale") is None and not edit.stays[width].all():
        edit.set(scale=1 / math.sqrt(len(width)))


REWRITES: dict[str, Callable[[Edit], None]] = {
    **dict.fromkeys(
        ("view", "reshape", "_unsafe_view", "expand", "zeros", "ones", "full", "new_zeros", "new_ones", "new_full"),
        _sizes,
    ),
    **dict.fromkeys(
        ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution",
         "group_norm"),
        _groups,
    ),
    **dict.fromkeys(("layer_norm", "rms_norm"), _normalized),
    "scaled_dot_product_attention": _attention,
    **dict.fromkeys(("split", "chunk", "split_with_sizes"), _split),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "slice": _slice,
    "narrow": _narrow,
    "unflatten": _unflatten,
}  # fmt: skip
