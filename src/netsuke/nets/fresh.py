"""A network as it was before any training: for students that start from nothing."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from netsuke.nets.graph import argument, clone, op, tensor_of
from netsuke.nets.seeded import seeded

NORMS = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"})
LAYERS = ("conv", "linear")


def fresh(network: GraphModule, seed: int) -> GraphModule:
    """A copy with new weights, drawn from the seed.

    Weights and biases of convolutions and linear layers as PyTorch draws them (He et al., 2015, "Delving
    deep into rectifiers"), norms that do nothing yet, and whatever else is trained from the mean and spread
    that it has now.
    """
    network = clone(network)
    with seeded(seed), torch.no_grad():
        done: set[int] = set()
        for node in network.graph.nodes:
            for tensor, fill in _roles(network, node):
                if id(tensor) not in done:
                    fill(tensor)
                    done.add(id(tensor))
        for parameter in network.parameters():
            if id(parameter) not in done:
                _as_spread(parameter)
    return network


def _roles(network: GraphModule, node: Node) -> list[tuple[Tensor, Any]]:
    """The tensors whose part in an operation is known, with what fills them."""
    if op(node) in NORMS:
        known = {
            "weight": torch.ones_like, "bias": torch.zeros_like,
            "running_mean": torch.zeros_like, "running_var": torch.ones_like,
        }  # fmt: skip
        return [
            (tensor, lambda t, make=make: t.copy_(make(t)))
            for name, make in known.items()
            if (tensor := tensor_of(network, argument(node, name))) is not None
        ]
    if not op(node).startswith(LAYERS):
        return []
    weight, bias = (tensor_of(network, argument(node, name)) for name in ("weight", "bias"))
    if weight is None:
        return []
    bound = 1 / math.sqrt(max(1, weight[0].numel()))
    return [(t, lambda t: t.uniform_(-bound, bound)) for t in (weight, bias) if t is not None]


def _as_spread(parameter: nn.Parameter) -> None:
    mean, spread = parameter.mean().item(), parameter.std(correction=0).item()
    parameter.normal_(mean, spread)
