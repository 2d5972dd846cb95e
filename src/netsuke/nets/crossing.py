"""What crosses a cut, made smaller: fewer channels, and integers in place of floats."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from netsuke.core.scheme import Uniform
from netsuke.nets.cuts import Cut
from netsuke.nets.data import Inputs
from netsuke.nets.evaluation import evaluating
from netsuke.nets.graph import clone, place, rebuilt
from netsuke.nets.quantizers import activations

aten = torch.ops.aten
PACKED = 4
"""Bits, of which two values make a byte."""


@torch.library.custom_op("netsuke::in_pairs", mutates_args=())
def in_pairs(x: Tensor, axis: int) -> Tensor:
    """x, the worth of integers of four bits, of which those half the axis apart are in one byte where the network is cut."""
    return x.clone()


@in_pairs.register_fake
def _(x: Tensor, axis: int) -> Tensor:
    return torch.empty_like(x)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return grad, None


in_pairs.register_autograd(_gradient)
IN_PAIRS = torch.ops.netsuke.in_pairs.default


def narrowed(
    network: GraphModule, cut: Cut, kept: int, batches: Iterable[Inputs]
) -> tuple[GraphModule, str, float]:
    """(A copy in which so many channels cross, the node that gives these, the share of the variance they hold.)

    Two linear maps of the channels, there and back, that lose the least of what crossed on these samples: its first
    principal components (Eckart and Young, 1936), from where training may go on (a learned bottleneck: Eshratifar
    et al., 2019, "BottleNet").
    """
    network = clone(network)
    mean, vectors, held = _components(network, cut, kept, batches)
    node = _node(network, cut)
    users = list(node.users)
    there = _mapped(network, node, cut, "there", vectors.mT, -(vectors.mT @ mean))
    back = _mapped(network, there, cut, "back", vectors, mean)
    for user in users:
        user.replace_input_with(node, back)
    return rebuilt(network), there.name, held


def coded(network: GraphModule, name: str, bits: int, axis: int) -> None:
    """Put a quantizer behind a node, in place, its encoding unset: all that read the node read its integers' worth.

    bits: 8, or 4, of which two cross in a byte. axis: of the channels, of which there are evenly many where they cross so.
    """
    node = next(n for n in network.graph.nodes if n.name == name)
    quantizer = activations.insert(network, node, f"{name}_crossing", Uniform(bits=bits))
    node.replace_all_uses_with(quantizer, delete_user_cb=lambda user: user is not quantizer)
    if bits == PACKED:
        with network.graph.inserting_after(quantizer):
            pairs = network.graph.call_function(IN_PAIRS, (quantizer, axis))
        pairs.meta = dict(quantizer.meta)
        quantizer.replace_all_uses_with(pairs, delete_user_cb=lambda user: user is not pairs)
    rebuilt(network)


def _node(network: GraphModule, cut: Cut) -> Node:
    found: Node = next(n for n in network.graph.nodes if n.name == cut.node)
    return found


def _components(
    network: GraphModule, cut: Cut, kept: int, batches: Iterable[Inputs]
) -> tuple[Tensor, Tensor, float]:
    """(the mean of each channel, the first components as columns, the share of the variance they hold)."""
    assert cut.channels is not None
    head = clone(network)
    next(n for n in head.graph.nodes if n.op == "output").args = (_node(head, cut),)
    rebuilt(head)
    total, count, second = torch.zeros(cut.shape[cut.channels]).double(), 0, 0.0
    products = torch.zeros(len(total), len(total)).double()
    with evaluating(head):
        for inputs in batches:
            rows = head(*inputs).movedim(cut.channels, -1).flatten(0, -2).double()
            total, count = total + rows.sum(0), count + len(rows)
            products = products + rows.mT @ rows
    mean = total / count
    values, vectors = torch.linalg.eigh(products / count - mean[:, None] * mean[None, :])
    second = float(values.clamp(min=0).sum())
    held = float(values.clamp(min=0)[-kept:].sum()) / max(second, 1e-12)
    return mean.float(), vectors[:, -kept:].flip(1).float().contiguous(), held


def _mapped(
    network: GraphModule, value: Node, cut: Cut, name: str, weight: Tensor, bias: Tensor
) -> Node:
    """A linear map of the channels behind a value: a 1×1 convolution of pictures, else a linear layer."""
    dims, graph = len(cut.shape), network.graph
    pictures = cut.channels == 1 and dims == 4
    key = f"crossing_{cut.node}_{name}"
    place(
        network,
        f"{key}.weight",
        nn.Parameter(weight[:, :, None, None].clone() if pictures else weight.clone()),
    )
    place(network, f"{key}.bias", nn.Parameter(bias.clone()))
    with graph.inserting_after(value):
        weights = graph.get_attr(f"{key}.weight")
    with graph.inserting_after(weights):
        biases = graph.get_attr(f"{key}.bias")
    target = aten.conv2d.default if pictures else aten.linear.default
    with graph.inserting_after(biases):
        made: Node = graph.call_function(target, (value, weights, biases))
    made.meta = {"dims": dims, "nn_module_stack": value.meta.get("nn_module_stack", {})}
    return made
