"""A network that computes as on integers, with nothing set: every range is that of the values themselves.

It has the tensors of the float network under their names and no others, so that several machines can train it and put together
what they learned (`netsuke federate`); what comes of it is quantized at the end as any float network is.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from netsuke.core.scheme import Uniform
from netsuke.nets import graph
from netsuke.nets.quantizers.calibrate import encode_weight
from netsuke.nets.quantizers.quantizer import along
from netsuke.nets.quantizers.roles import WEIGHTED, op

ACTIVATIONS = 8
"""Bits of what layers read, whatever their weights have."""
CANDIDATES = 10
"""Scales of a weight that are tried at every step; the integers of the end are chosen from more."""


@torch.library.custom_op("netsuke::as_integers", mutates_args=())
def as_integers(x: Tensor, bits: int, axis: int) -> Tensor:
    """x on integers of its own range: with an axis, that of the least square error around zero for each index of it; with -1,
    that of its extremes and zero. In the dtype of ``x``; the gradient passes straight through (Bengio, Léonard and Courville, 2013)."""
    scheme = Uniform(bits=bits, symmetric=axis >= 0, axis=axis)
    found = encode_weight(x, scheme, CANDIDATES)
    step, zero = (along(x, t.to(x.dtype), axis) for t in (found.scale, found.zero_point))
    low, high = scheme.limits
    return torch.round(x / step).add_(zero).clamp_(low, high).sub_(zero).mul_(step)


@as_integers.register_fake
def _(x: Tensor, bits: int, axis: int) -> Tensor:
    return torch.empty_like(x)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return grad, None, None


as_integers.register_autograd(_gradient)
AS_INTEGERS = torch.ops.netsuke.as_integers.default


def rehearsed(network: GraphModule, bits: int) -> GraphModule:
    """A copy whose convolutions and linear layers multiply integers. bits: of their weights, a scale a channel."""
    network = graph.clone(network)
    made: dict[Node, Node] = {}
    for layer in list(network.graph.nodes):
        if op(layer) not in WEIGHTED or not isinstance(
            graph.tensor_of(network, layer.args[1]), nn.Parameter
        ):
            continue
        for value, width, axis in ((layer.args[0], ACTIVATIONS, -1), (layer.args[1], bits, 0)):
            if value not in made:
                with network.graph.inserting_after(value):
                    made[value] = network.graph.call_function(AS_INTEGERS, (value, width, axis))
                made[value].meta = {k: v for k, v in value.meta.items() if k != "val"}
            layer.replace_input_with(value, made[value])
    return graph.rebuilt(network)
