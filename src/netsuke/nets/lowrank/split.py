"""One layer of the graph replaced by two."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from netsuke.nets.graph import argument, drop_unused, op, place, rebuilt, tensor_of
from netsuke.nets.lowrank.forms import Factors, Form
from netsuke.nets.moments import weighted
from netsuke.nets.quantizers.rounding.rows import groups_of

ATEN = torch.ops.aten
PLAIN = {
    "conv1d": ATEN.conv1d.default,
    "conv2d": ATEN.conv2d.default,
    "conv3d": ATEN.conv3d.default,
}


def divisible(network: GraphModule) -> dict[str, Node]:
    """The layers that can be replaced, by the user's name: convolutions without groups and linear layers
    whose weight nothing else reads, and whose bias is a parameter where they have one."""
    found = {}
    for name, nodes in weighted(network).items():
        node, layer = nodes[0], name.rpartition(".")[0] or name
        bias = argument(node, "bias")
        alone = len(nodes) == 1 and len(argument(node, "weight").users) == 1
        known = bias is None or tensor_of(network, bias) is not None
        if alone and known and groups_of(node) == 1 and layer not in found:
            found[layer] = node
    return found


def split(network: GraphModule, layer: str, node: Node, form: Form, made: Factors) -> None:
    """Put two layers in the place of one, in place; the second keeps the node's name.

    Their parameters are ``layer.first.weight``, ``layer.second.weight`` and ``layer.second.bias``.
    Call ``settle`` when all are replaced.
    """
    graph, grad = network.graph, argument(node, "weight")
    trains = bool(getattr(tensor_of(network, grad), "requires_grad", True))
    names = {"first.weight": made.first, "second.weight": made.second, "second.bias": made.bias}
    for leaf, tensor in names.items():
        place(network, f"{layer}.{leaf}", nn.Parameter(tensor, requires_grad=trains))
    with graph.inserting_before(node):
        one, two, bias = (graph.get_attr(f"{layer}.{leaf}") for leaf in names)
        first = _call(node, form, 0, (node.all_input_nodes[0], one, None))
        second = _call(node, form, 1, (first, two, bias))
    for new in (first, second):
        new.meta = dict(node.meta)
    node.replace_all_uses_with(second)
    graph.erase_node(node)
    second.name = node.name


def settle(network: GraphModule) -> GraphModule:
    """The network itself after splits: what is not read any more is dropped."""
    rebuilt(network)
    drop_unused(network)
    return network


def _call(node: Node, form: Form, part: int, given: tuple[Node, Node, Node | None]) -> Node:
    """The first or the second of the two: stride and padding are the first's, or each has its axis."""
    graph = node.graph
    if op(node) == "linear":
        return graph.call_function(ATEN.linear.default, given)
    stride, padding, dilation = (argument(node, n) for n in ("stride", "padding", "dilation"))
    if form == "channel":
        if part:
            return graph.call_function(PLAIN[op(node)], given)
        return graph.call_function(node.target, (*given, stride, padding, dilation))  # type: ignore[arg-type]
    axis = (_only(stride, part, 1), _only(padding, part, 0), _only(dilation, part, 1))
    return graph.call_function(node.target, (*given, *axis))  # type: ignore[arg-type]


def _only(value: Any, axis: int, other: int) -> Any:
    """The value of one axis of a picture, the other axis left alone. ``"same"`` is so by itself."""
    if isinstance(value, str):
        return value
    both: Sequence[int] = [*value] * 2 if len(value) == 1 else [*value]
    return [both[0], other] if axis == 0 else [other, both[1]]


def bias_of(network: GraphModule, node: Node) -> Tensor:
    """The layer's bias; zeros where it has none."""
    weight, bias = (tensor_of(network, argument(node, n)) for n in ("weight", "bias"))
    assert weight is not None
    return torch.zeros(len(weight), dtype=weight.dtype) if bias is None else bias.detach()
