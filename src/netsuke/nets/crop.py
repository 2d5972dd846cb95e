"""Convolutions with the middle of their kernels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.core.model import Model
from netsuke.nets.graph import (
    argument,
    clone,
    each_dimension,
    module_name,
    op,
    rebuilt,
    set_tensor,
    shapes,
)
from netsuke.nets.moments import weight_of, weighted

KINDS = ("conv1d", "conv2d")
SPARSE = 0.1
"""A layer with this share of zeros was pruned weight by weight."""
UNPADDED = "it is not padded by as much as would leave"


@dataclass(frozen=True)
class Crop:
    """What happens to one layer. trims: elements that leave on either side of each dimension. reason: why it
    stays as it is; None where it does not."""

    node: str
    layer: str
    kernel: tuple[int, ...]
    trims: tuple[int, ...]
    reason: str | None = None

    @property
    def left(self) -> tuple[int, ...]:
        """The kernel that stays."""
        return tuple(k - 2 * t for k, t in zip(self.kernel, self.trims, strict=True))


def crops(model: Model, largest: int) -> tuple[Crop, ...]:
    """Every convolution with a kernel that is longer than ``largest`` in some dimension."""
    found = []
    for nodes in weighted(model.network).values():
        for node in nodes:
            if op(node) not in KINDS:
                continue
            kernel = tuple(weight_of(model.network, node).shape[2:])
            trims = tuple(max(0, -(-(k - largest) // 2)) for k in kernel)
            if any(trims):
                reason = _reason(model, node, trims, shared=len(nodes) > 1)
                found.append(Crop(node.name, module_name(node) or node.name, kernel, trims, reason))
    return tuple(found)


def cropped(model: Model, cuts: Sequence[Crop]) -> GraphModule:
    """A new network in which these layers sum over the middle of what they did; sizes stay."""
    network, known = clone(model.network), shapes(model.network, model.example)
    nodes = {n.name: n for n in network.graph.nodes}
    for cut in cuts:
        node = nodes[cut.node]
        weight = weight_of(network, node)
        set_tensor(network, str(argument(node, "weight").target), _middle(weight, cut.trims))
        padding = argument(node, "padding")
        if not isinstance(padding, str):
            spread = each_dimension(argument(node, "dilation"), len(cut.trims))
            pads = zip(each_dimension(padding, len(cut.trims)), cut.trims, spread, strict=True)
            _give(node, "padding", [p - t * d for p, t, d in pads])
    rebuilt(network)
    after = shapes(network, model.example)
    assert all(after[cut.node] == known[cut.node] for cut in cuts), "a crop changed a size"
    return network


def _reason(model: Model, node: Node, trims: tuple[int, ...], shared: bool) -> str | None:
    padding, dilation = argument(node, "padding"), argument(node, "dilation")
    if shared:
        return "several layers share its weight"
    if float((weight_of(model.network, node) == 0).float().mean()) > SPARSE:
        return "its weight holds zeros that a fit would fill"
    if padding == "valid":
        return UNPADDED
    if not isinstance(padding, str):
        sides = (each_dimension(given, len(trims)) for given in (padding, dilation))
        if any(p < t * d for p, d, t in zip(*sides, trims, strict=True)):
            return UNPADDED
    return None


def _middle(weight: Tensor, trims: tuple[int, ...]) -> Tensor:
    inside = (slice(t, size - t) for t, size in zip(trims, weight.shape[2:], strict=True))
    return weight[(slice(None), slice(None), *inside)].clone(memory_format=torch.contiguous_format)


def _give(node: Node, name: str, value: list[int]) -> None:
    """Set an operation's argument by its name in the ATen schema."""
    position = [a.name for a in node.target._schema.arguments].index(name)  # type: ignore[union-attr]
    if position < len(node.args):
        node.update_arg(position, value)
    else:
        node.update_kwarg(name, value)
