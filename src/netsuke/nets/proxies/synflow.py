"""Synaptic flow: how much comes through, all weights made positive."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.nets.data import Inputs
from netsuke.nets.graph import argument, clone
from netsuke.nets.proxies.proxy import Proxy

TINY = 1e-200
"""The sample's values: so small that no activation function saturates, however deep the network."""


class Synflow(Proxy):
    """The logarithm of Σ |θ · ∂R/∂θ|, where R sums the outputs of the network with |θ|, biases left out, for a
    sample of ones (Tanaka et al., 2020; of architectures Abdelfattah et al., 2021). In float64."""

    name: ClassVar[str] = "synflow"

    def score(self, network: GraphModule, inputs: Inputs) -> float:
        positive = clone(network).double().eval()
        biases = {str(n.target) for n in map(_bias, network.graph.nodes) if n is not None}
        with torch.no_grad():
            for name, weight in positive.named_parameters():
                weight.copy_(torch.zeros_like(weight) if name in biases else weight.abs())
        given = positive(*map(_sample, inputs))
        outputs = (given,) if isinstance(given, Tensor) else given
        total = torch.stack([o.sum() for o in outputs]).sum() / TINY
        weights = list(positive.parameters())
        gradients = torch.autograd.grad(total, weights, allow_unused=True)
        flows = [
            (w.detach() * g).abs().sum()
            for w, g in zip(weights, gradients, strict=True)
            if g is not None
        ]
        return math.log(max(float(torch.stack(flows).sum()), 1e-300))


def _bias(node: Node) -> Node | None:
    given = argument(node, "bias") if node.op == "call_function" else None
    return given if isinstance(given, Node) else None


def _sample(given: Tensor) -> Tensor:
    """One of ones; of tokens the first there is."""
    if not given.is_floating_point():
        return given[:1]
    return torch.full_like(given[:1], TINY, dtype=torch.float64)
