"""Cutting channels out of a network: weights sliced, constants of the forward rewritten, checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.nets.calls import bind, kind
from netsuke.nets.channels.groups import Groups, Keep, groups
from netsuke.nets.channels.labels import Axes, Ints
from netsuke.nets.graph import clone, rebuilt, set_tensor, tensor_of, values, where

TOLERANCE = 1e-4
"""Largest difference between pruned and masked, relative to the largest masked value."""


def cut(model: Model, keep: Keep, known: Groups | None = None) -> GraphModule:
    """A new network without the units that ``keep`` leaves out, checked against ``mask``.

    known: the groups of this model, when they are at hand. Raises NetsukeError where a layer would
    be left without channels, or where the pruned network does not compute what the masked one does.
    """
    known = known or groups(model)
    stays = known.stays(keep)
    network = clone(model.network)
    _slice_tensors(network, known, stays)
    for node in network.graph.nodes:
        if node.op == "call_function" and node.name in known.axes:
            _rewrite(Edit(node, known.axes, stays))
    rebuilt(network)
    _check(network, mask(model, keep, known), model.example, known, stays)
    return network


def mask(model: Model, keep: Keep, known: Groups | None = None) -> GraphModule:
    """The whole network with those units silenced: whatever takes them in multiplies them by zero."""
    known = known or groups(model)
    network = clone(model.network)
    whole = {name: _tensor(network, name) for name in known.consumers}
    for name, tensor in silenced(known, keep, whole).items():
        set_tensor(network, name, tensor)
    return network


def silenced(known: Groups, keep: Keep, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of these tensors, with zeros wherever a unit that does not stay is taken in."""
    stays = known.stays(keep)
    out = {name: tensor.detach().clone() for name, tensor in whole.items()}
    for group in known.groups:
        for m in group.members:
            if m.role == "consumer" and m.tensor in out:
                gone = np.flatnonzero(_gone(known.first[group.id], m.unit, stays))
                out[m.tensor].index_fill_(m.dim, torch.from_numpy(gone), 0)
    return out


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


def _rewrite(edit: Edit) -> None:
    rewrite = REWRITES.get(kind(edit.node))
    if rewrite is not None:
        rewrite(edit)


def _sizes(edit: Edit) -> None:
    """view, reshape, expand, zeros: the sizes asked for, dimension by dimension of the output."""
    name = next(n for n in ("size", "shape") if edit.get(n) is not None)
    sizes = edit.get(name)
    edit.set(**{name: [_size(edit, s, u) for s, u in zip(sizes, edit.out, strict=True)]})


def _unflatten(edit: Edit) -> None:
    dim, sizes = edit.get("dim") % len(edit.out), edit.get("sizes")
    made = edit.out[dim : dim + len(sizes)]
    edit.set(sizes=[_size(edit, s, u) for s, u in zip(sizes, made, strict=True)])


def _size(edit: Edit, size: Any, units: Ints) -> Any:
    return edit.count(units) if isinstance(size, int) and size >= 0 else size


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
    """A depthwise convolution has as many groups as channels come in."""
    units = edit.axis("input", 1)
    if edit.get("groups") == len(units) > 1:
        edit.set(groups=edit.count(units))


REWRITES: dict[str, Callable[[Edit], None]] = {
    **dict.fromkeys(
        ("view", "reshape", "_unsafe_view", "expand", "zeros", "ones", "full", "new_zeros", "new_ones", "new_full"),
        _sizes,
    ),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _groups),
    **dict.fromkeys(("split", "chunk", "split_with_sizes"), _split),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    "slice": _slice,
    "narrow": _narrow,
    "unflatten": _unflatten,
}  # fmt: skip


def _slice_tensors(network: GraphModule, known: Groups, stays: np.ndarray) -> None:
    gone: dict[tuple[str, int], np.ndarray] = {}
    for group in known.groups:
        for m in group.members:
            here = _gone(known.first[group.id], m.unit, stays)
            gone[m.tensor, m.dim] = gone.get((m.tensor, m.dim), False) | here
    for (name, dim), leaves in gone.items():
        if leaves.all():
            raise NetsukeError(f"{name}: dimension {dim} would be left without channels; keep one")
        if leaves.any():
            tensor = _tensor(network, name).detach()
            kept = torch.from_numpy(np.flatnonzero(~leaves))
            set_tensor(network, name, tensor.index_select(dim, kept))


def _gone(first: int, unit: Ints, stays: np.ndarray) -> np.ndarray:
    return (unit >= 0) & ~stays[np.where(unit >= 0, first + unit, -1)]


def _tensor(network: GraphModule, name: str) -> Tensor:
    tensor = tensor_of(network, name)
    assert tensor is not None, name  # a member's name comes from this very network
    return tensor


def _check(
    pruned: GraphModule,
    masked: GraphModule,
    example: tuple[Tensor, ...],
    known: Groups,
    stays: np.ndarray,
) -> None:
    """Pruned equals masked, at every node on the way: the first that differs is named."""
    wanted = values(masked, example)
    nodes = {n.name: n for n in pruned.graph.nodes}
    try:
        given = values(pruned, example)
    except RuntimeError as error:
        line = str(error).splitlines()[0]
        raise NetsukeError(f"pruning: the cut network does not run: {line}") from error
    for name, value in given.items():
        expected = _kept(wanted[name], known.axes[name], stays)
        if nodes[name].op == "call_function" and not _close(value, expected):
            raise NetsukeError(
                f"pruning: {where(nodes[name])} does not compute what it did with those channels "
                "silenced; protect this layer, and please report it"
            )


def _kept(value: Tensor, axes: Axes, stays: np.ndarray) -> Tensor:
    for dim, units in enumerate(axes):
        value = value.index_select(dim, torch.from_numpy(np.flatnonzero(stays[units])))
    return value


def _close(given: Tensor, expected: Tensor) -> bool:
    if given.shape != expected.shape:
        return False
    if not given.is_floating_point():
        return bool(torch.equal(given, expected))
    if not expected.numel():
        return True
    scale = expected.abs().max().item()
    return bool(torch.isfinite(given).all()) and bool(
        (given - expected).abs().max() <= TOLERANCE * max(scale, 1e-6)
    )
