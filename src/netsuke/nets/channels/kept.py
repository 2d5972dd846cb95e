"""Sums and statistics over channels, in a whole network, of those channels alone that stay.

What a pruned network is compared with: a normalization over a pruned axis must there see what it
will see when the others have left.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.nets.calls import bind, kind
from netsuke.nets.channels.labels import Ints
from netsuke.nets.channels.norms import REDUCTIONS, is_by_place
from netsuke.nets.graph import rebuilt

Kept = tuple[int, ...]
"""The indices along one dimension that stay."""


def count_kept(network: GraphModule, axes: Mapping[str, Any], stays: np.ndarray) -> None:
    """Rewrite, in place, what sums or normalizes over a dimension some of which leaves.

    axes: units of every node's dimensions. stays: by unit number.
    """
    for node in list(network.graph.nodes):
        rewrite = REWRITES.get(kind(node)) if node.op == "call_function" else None
        if rewrite is not None:
            rewrite(_Sum(node, axes, stays))
    rebuilt(network)


class _Sum:
    """A node under the rewrite."""

    def __init__(self, node: Node, axes: Mapping[str, Any], stays: np.ndarray) -> None:
        self.node, self._axes, self._stays = node, axes, stays
        self.given = bind(node, node.args, node.kwargs)

    def units(self, name: str) -> Sequence[Ints]:
        """Units of an argument's dimensions."""
        found: Sequence[Ints] = self._axes[self.given[name].name]
        return found

    def kept(self, name: str, dim: int) -> Kept:
        return tuple(np.flatnonzero(self._stays[self.units(name)[dim]]).tolist())

    def is_whole(self, name: str, dim: int) -> bool:
        return bool(self._stays[self.units(name)[dim]].all())

    def picked(self, x: Node, dim: int, like: Node) -> Node:
        """What stays of a tensor along one dimension. like: the tensor before anything was picked."""
        stays = self._stays[self._axes[like.name][dim]]
        if stays.all():
            return x
        with self.node.graph.inserting_before(self.node):
            return self.node.graph.call_function(
                pick, (x, dim, tuple(np.flatnonzero(stays).tolist()))
            )

    def pick(self, name: str, dim: int) -> None:
        """Give the node only what stays of an argument."""
        self.set(name, self.picked(self.given[name], dim, self.given[name]))

    def set(self, name: str, value: Any) -> None:
        self.given[name] = value
        schema = self.node.target._schema.arguments  # type: ignore[union-attr]
        self.node.args = tuple(self.given[a.name] for a in schema if not a.kwarg_only)
        self.node.kwargs = {a.name: self.given[a.name] for a in schema if a.kwarg_only}

    def instead(self, function: Callable[..., Tensor], *arguments: Any) -> None:
        """Let a function of ours compute what the node does."""
        self.node.target, self.node.args, self.node.kwargs = function, arguments, {}


def _features(at: _Sum) -> None:
    dims = range(-len(at.given["normalized_shape"]), 0)
    if all(at.is_whole("input", d) for d in dims):
        return
    kept = tuple(at.kept("input", d) for d in dims)
    given = [at.given.get(n) for n in ("input", "weight", "bias", "eps")]
    norm = layer_norm if kind(at.node) == "layer_norm" else rms_norm
    at.instead(norm, *given, kept)


def _groups(at: _Sum) -> None:
    if at.is_whole("input", 1):
        return
    channels, groups, kept = len(at.units("input")[1]), at.given["num_groups"], at.kept("input", 1)
    if not is_by_place(channels, groups):
        groups = len(kept) * groups // channels
    given = [at.given[n] for n in ("input", "weight", "bias", "eps")]
    at.instead(group_norm, *given, groups, kept)


def _reduction(at: _Sum) -> None:
    dims = at.given.get("dim")
    rank = len(at.units("self"))
    for dim in range(rank) if not dims else [dims] if isinstance(dims, int) else dims:
        at.pick("self", dim % rank)


def _attention(at: _Sum) -> None:
    if at.given["scale"] is None:
        at.set("scale", len(at.units("query")[-1]) ** -0.5)
    for name in ("query", "key"):
        at.pick(name, len(at.units(name)) - 1)


def _product(at: _Sum) -> None:
    second = next(n for n in ("mat2", "batch2", "other") if n in at.given)
    first = next(n for n in ("mat1", "batch1", "self") if n in at.given)
    if len(at.units(first)) > 1 and len(at.units(second)) > 1:
        at.pick(first, len(at.units(first)) - 1)
        at.pick(second, len(at.units(second)) - 2)


def _einsum(at: _Sum) -> None:
    terms, _, made = at.given["equation"].replace(" ", "").partition("->")
    if not made or "." in terms:
        return  # no rule follows these
    given = list(at.given["tensors"])
    for i, (whole, term) in enumerate(zip(given, terms.split(","), strict=True)):
        for dim, letter in enumerate(term):
            if letter not in made:  # summed over
                given[i] = at.picked(given[i], dim, whole)
    at.set("tensors", given)


def pick(x: Tensor, dim: int, kept: Kept) -> Tensor:
    """What stays of a tensor along one dimension."""
    return x.index_select(dim, torch.tensor(kept, device=x.device))


def layer_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, kept: tuple[Kept, ...]
) -> Tensor:
    """LayerNorm of what stays of the last dimensions; zeros elsewhere."""
    first = x.ndim - len(kept)
    part, scale, shift = (_part(t, at, kept) for t, at in ((x, first), (weight, 0), (bias, 0)))
    assert part is not None
    made = torch.layer_norm(part, part.shape[first:], scale, shift, eps)
    return _spread(made, x, first, kept)


def rms_norm(
    x: Tensor, weight: Tensor | None, _: None, eps: float | None, kept: tuple[Kept, ...]
) -> Tensor:
    """RMSNorm of what stays of the last dimensions; zeros elsewhere."""
    first = x.ndim - len(kept)
    part, scale = _part(x, first, kept), _part(weight, 0, kept)
    assert part is not None
    return _spread(torch.rms_norm(part, part.shape[first:], scale, eps), x, first, kept)


def group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, groups: int, kept: Kept
) -> Tensor:
    """GroupNorm of the channels that stay; zeros elsewhere."""
    part, scale, shift = (_part(t, at, (kept,)) for t, at in ((x, 1), (weight, 0), (bias, 0)))
    assert part is not None
    return _spread(torch.group_norm(part, groups, scale, shift, eps), x, 1, (kept,))


def _part(x: Tensor | None, first: int, kept: tuple[Kept, ...]) -> Tensor | None:
    for i, indices in enumerate(kept):
        x = pick(x, first + i, indices) if x is not None else None
    return x


def _spread(made: Tensor, like: Tensor, first: int, kept: tuple[Kept, ...]) -> Tensor:
    """What was picked, back at its places in a tensor of zeros."""
    for i, indices in enumerate(kept):
        dim = first + i
        shape = [*made.shape[:dim], like.shape[dim], *made.shape[dim + 1 :]]
        at = torch.tensor(indices, device=made.device)
        made = made.new_zeros(shape).index_copy(dim, at, made)
    return made


REWRITES: dict[str, Callable[[_Sum], None]] = {
    **dict.fromkeys(("layer_norm", "rms_norm"), _features),
    "group_norm": _groups,
    **dict.fromkeys(REDUCTIONS, _reduction),
    "scaled_dot_product_attention": _attention,
    "einsum": _einsum,
    **dict.fromkeys(("matmul", "mm", "bmm", "addmm", "baddbmm"), _product),
}
