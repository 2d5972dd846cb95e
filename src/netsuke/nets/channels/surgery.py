"""Cutting channels out of a network: weights sliced, constants of the forward rewritten, checked."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Groups, Keep, groups, silencers
from netsuke.nets.channels.kept import count_kept
from netsuke.nets.channels.labels import Axes, Ints
from netsuke.nets.channels.rewrites import Edit, rewrite
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
            rewrite(Edit(node, known.axes, stays))
    rebuilt(network)
    _check(network, mask(model, keep, known), model.example, known, stays)
    return network


def mask(model: Model, keep: Keep, known: Groups | None = None) -> GraphModule:
    """The whole network with those units silenced: whatever takes them in multiplies them by zero, and
    sums and statistics over them are those of the units that stay."""
    known = known or groups(model)
    network = clone(model.network)
    count_kept(network, known.axes, known.stays(keep))
    whole = {name: _tensor(network, name) for name in known.consumers}
    for name, tensor in silenced(known, keep, whole).items():
        set_tensor(network, name, tensor)
    return network


def silenced(known: Groups, keep: Keep, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of these tensors, with zeros wherever a unit that does not stay is taken in."""
    stays = known.stays(keep)
    out = {name: tensor.detach().clone() for name, tensor in whole.items()}
    for group in known.groups:
        for m in silencers(group):
            if m.tensor in out:
                gone = np.flatnonzero(_gone(known.first[group.id], m.unit, stays))
                out[m.tensor].index_fill_(m.dim, torch.from_numpy(gone), 0)
    return out


def _slice_tensors(network: GraphModule, known: Groups, stays: np.ndarray) -> None:
    for name, dim, kept in left(known, stays):
        set_tensor(network, name, _tensor(network, name).detach().index_select(dim, kept))


def taken_out(whole: Mapping[str, Tensor], known: Groups, keep: Keep) -> dict[str, Tensor]:
    """What ``cut`` leaves of the tensors of the whole network; the inverse of ``put_back``."""
    out = dict(whole)
    for name, dim, kept in left(known, known.stays(keep)):
        if name in out:
            out[name] = out[name].index_select(dim, kept)
    return out


def put_back(
    whole: Mapping[str, Tensor], part: Mapping[str, Tensor], known: Groups, keep: Keep
) -> dict[str, Tensor]:
    """The tensors of the whole network, where a unit stays those of the cut one; the inverse of ``cut`` on weights.

    whole, part: by name, of the same names.
    """
    kept: dict[str, dict[int, Tensor]] = {}
    for name, dim, indices in left(known, known.stays(keep)):
        kept.setdefault(name, {})[dim] = indices
    out = dict(part)
    for name, dims in kept.items():
        if name in part:
            out[name] = whole[name].detach().clone()
            every = [dims.get(d, torch.arange(n)) for d, n in enumerate(out[name].shape)]
            out[name][torch.meshgrid(*every, indexing="ij")] = part[name]
    return out


def left(known: Groups, stays: np.ndarray) -> Iterator[tuple[str, int, Tensor]]:
    """(Tensor, dimension, the indices along it that stay) wherever some leave.

    stays: by unit number. Raises NetsukeError where none would stay.
    """
    gone: dict[tuple[str, int], np.ndarray] = {}
    for group in known.groups:
        for m in group.members:
            here = _gone(known.first[group.id], m.unit, stays)
            gone[m.tensor, m.dim] = gone.get((m.tensor, m.dim), False) | here
    for (name, dim), leaves in gone.items():
        if leaves.all():
            raise NetsukeError(f"{name}: dimension {dim} would be left without channels; keep one")
        if leaves.any():
            yield name, dim, torch.from_numpy(np.flatnonzero(~leaves))


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
    far = expected.isinf()  # such as the logarithm of a distance of 0
    if not torch.equal(given[far], expected[far]):
        return False
    given, expected = given[~far], expected[~far]
    if not expected.numel():
        return True
    scale = expected.abs().max().item()
    return bool(torch.isfinite(given).all()) and bool(
        (given - expected).abs().max() <= TOLERANCE * max(scale, 1e-6)
    )
