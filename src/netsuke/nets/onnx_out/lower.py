"""The last form of a network before ONNX: no training, integers as the runtime stores them.

Everything that depends on how integers are stored is decided here, so that either way of writing
ONNX has one operation to translate for each of QuantizeLinear and DequantizeLinear.
"""

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.nets import graph
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizer import BIAS_LIMIT, HOME, Quantizer, quantizers, read

ACTIVATION = torch.uint8
"""What activations are stored in. onnxruntime's x86 kernels multiply u8 by s8 and leave s8 by s8 in
float; on ARM it has both. The encodings of a model fit either, by a shift of the zero point."""
WEIGHT, BIAS = torch.int8, torch.int32


@torch.library.custom_op("netsuke::dequantize", mutates_args=())
def dequantize(integers: Tensor, scale: Tensor, axis: int) -> Tensor:
    """Integers around zero as floats, ``integers · scale``; one scale an index of ``axis``, or one."""
    return integers.to(scale.dtype) * _along(integers, scale, axis)


@dequantize.register_fake
def _(integers: Tensor, scale: Tensor, axis: int) -> Tensor:
    return torch.empty_like(integers, dtype=scale.dtype)


DEQUANTIZE = torch.ops.netsuke.dequantize.default


def lower(network: GraphModule) -> GraphModule:
    """A copy for export: BatchNorm folded, dropout gone, weights held as integers."""
    network = graph.inference(fold_batchnorm(network))
    for q in list(quantizers(network)):
        if q.constant and q.limits[0] == -q.limits[1]:
            _hold_integers(network, q)
        else:
            _store(network, q)
    graph.rebuilt(network)
    graph.drop_unused(network)
    return network


def _hold_integers(network: GraphModule, q: Quantizer) -> None:
    """quantize(weight) → dequantize(integers)."""
    x, scale = graph.tensor_of(network, q.source), read(network, q.key).scale.double()
    assert x is not None
    level = torch.round(x.detach().double() / _along(x, scale, q.axis)).clamp(*q.limits)
    kind = BIAS if q.limits[1] == BIAS_LIMIT else WEIGHT
    held = _buffer(network, q, "integers", level.to(kind))
    with network.graph.inserting_before(q.node):
        node = network.graph.call_function(DEQUANTIZE, (held, q.node.args[1], q.axis))
    node.meta = dict(q.node.meta)
    q.node.replace_all_uses_with(node)
    network.graph.erase_node(q.node)


def _store(network: GraphModule, q: Quantizer) -> None:
    """The zero point in the type of storage; where that has more levels, a clamp before."""
    ends, encoding = torch.iinfo(ACTIVATION), read(network, q.key)
    zero = (encoding.zero_point - q.limits[0] + ends.min).to(ACTIVATION)
    if q.limits[1] - q.limits[0] < ends.max - ends.min:
        low, high = ((e - encoding.zero_point) * encoding.scale for e in q.limits)
        with network.graph.inserting_before(q.node):
            clamped = network.graph.call_function(
                torch.ops.aten.clamp.default, (q.source, float(low), float(high))
            )
        clamped.meta = dict(q.node.meta)
        q.node.replace_input_with(q.source, clamped)
    q.node.replace_input_with(q.node.args[2], _buffer(network, q, "stored_zero", zero))  # type: ignore[arg-type]
    q.node.args = (*q.node.args[:3], ends.min, ends.max, q.axis)


def _buffer(network: GraphModule, q: Quantizer, name: str, tensor: Tensor) -> torch.fx.Node:
    target = f"{HOME}.{q.key}.{name}"
    graph.set_tensor(network, target, tensor)
    with network.graph.inserting_before(q.node):
        return network.graph.get_attr(target)


def _along(x: Tensor, scale: Tensor, axis: int) -> Tensor:
    if axis < 0:
        return scale
    shape = [1] * x.dim()
    shape[axis] = -1
    return scale.view(shape)
