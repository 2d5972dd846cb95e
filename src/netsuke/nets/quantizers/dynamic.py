"""Activations whose scale is found anew at each call, from the input itself."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from netsuke.core.scheme import Uniform
from netsuke.nets import graph
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizers.roles import op
from netsuke.nets.quantizers.weights import quantize_weight

WEIGHT = Uniform(symmetric=True, axis=0)
TOP = 255


@torch.library.custom_op("netsuke::quantize_dynamic", mutates_args=())
def quantize_dynamic(x: Tensor) -> Tensor:
    """x on the 256 integers that span its own extremes and zero, as floats.

    As ONNX defines DynamicQuantizeLinear, and in the dtype of ``x``: one scale for the whole tensor,
    every sample of a batch included. The gradient passes straight through.
    """
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = (high - low) / TOP
    scale = torch.where(scale > 0, scale, 1.0)
    zero = torch.round((-low / scale).clamp(0, TOP))
    return (torch.round(x / scale) + zero).clamp_(0, TOP).sub_(zero).mul_(scale)


@quantize_dynamic.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def _gradient(ctx: Any, grad: Tensor) -> Tensor:
    return grad


quantize_dynamic.register_autograd(_gradient)
DYNAMIC = torch.ops.netsuke.quantize_dynamic.default


def place_dynamic(network: GraphModule) -> GraphModule:
    """A copy with BatchNorm folded, whose linear layers multiply 8-bit integers: the weight's scales
    (one a channel) are set, the input's are found at each call."""
    network = fold_batchnorm(network)
    made: dict[Node, Node] = {}
    for layer in linear_layers(network):
        quantize_weight(network, layer, WEIGHT)
        x = layer.args[0]
        assert isinstance(x, Node)
        if x not in made:
            with network.graph.inserting_before(layer):
                made[x] = network.graph.call_function(DYNAMIC, (x,))
            made[x].meta = {k: v for k, v in layer.meta.items() if k != "val"}
        layer.args = (made[x], *layer.args[1:])
    return graph.rebuilt(network)


def linear_layers(network: GraphModule) -> list[Node]:
    """Those whose weight is a parameter, not coded yet."""
    return [
        node
        for node in network.graph.nodes
        if op(node) == "linear" and isinstance(graph.tensor_of(network, node.args[1]), nn.Parameter)
    ]
