"""The last form of a network before ONNX: no training, weights as the integers they are."""

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.nets import graph
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizer import BIAS_LIMIT, HOME, Quantizer, quantizers, read


@torch.library.custom_op("netsuke::dequantize", mutates_args=())
def dequantize(integers: Tensor, scale: Tensor, axis: int) -> Tensor:
    """Integers around zero as floats, ``integers · scale``; one scale an index of ``axis``, or one."""
    if axis < 0:
        return integers.to(scale.dtype) * scale
    shape = [1] * integers.dim()
    shape[axis] = -1
    return integers.to(scale.dtype) * scale.view(shape)


@dequantize.register_fake
def _(integers: Tensor, scale: Tensor, axis: int) -> Tensor:
    return torch.empty_like(integers, dtype=scale.dtype)


DEQUANTIZE = torch.ops.netsuke.dequantize.default


def lower(network: GraphModule) -> GraphModule:
    """A copy for export: BatchNorm folded, dropout gone, quantized parameters held as integers."""
    network = graph.inference(fold_batchnorm(network))
    for q in list(quantizers(network)):
        # an activation-like constant keeps its zero point, so it goes the way of activations
        if q.constant and q.limits[0] == -q.limits[1]:
            _as_integers(network, q)
    graph.rebuilt(network)
    graph.drop_unused(network)
    return network


def integers(x: Tensor, q: Quantizer, network: GraphModule) -> Tensor:
    """What a symmetric quantizer makes of x: int8, or int32 for a bias."""
    scale = read(network, q.key).scale.double()
    shape = [1] * x.dim()
    if q.axis >= 0:
        shape[q.axis] = -1
    level = torch.round(x.detach().double() / scale.view(shape)).clamp(*q.limits)
    return level.to(torch.int32 if q.limits[1] == BIAS_LIMIT else torch.int8)


def _as_integers(network: GraphModule, q: Quantizer) -> None:
    x = graph.tensor_of(network, q.source)
    assert x is not None
    name = f"{HOME}.{q.key}.integers"
    graph.set_tensor(network, name, integers(x, q, network))
    with network.graph.inserting_before(q.node):
        held = network.graph.get_attr(name)
        node = network.graph.call_function(DEQUANTIZE, (held, q.node.args[1], q.axis))
    node.meta = dict(q.node.meta)
    q.node.replace_all_uses_with(node)
    network.graph.erase_node(q.node)
