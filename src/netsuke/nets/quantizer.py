"""Quantizers in a network: what integers a tensor becomes, and the operation that simulates it.

A quantizer is one node ``netsuke::quantize(x, scale, zero_point, qmin, qmax, axis)`` of the graph.
It rounds to the grid and comes back, so that a network with quantizers is trained, simulated and
exported as it stands. Encodings know no signedness: an activation lives in 0 … 255 here, and the
exporter shifts it to whichever 8-bit type the runtime has kernels for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.core.scheme import Uniform

HOME = "quantizers"
"""The submodule of a network that holds the buffers of its quantizers."""

BIAS_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Encoding:
    """Scale (float) and zero point (int32), each of shape () or (channels,)."""

    scale: Tensor
    zero_point: Tensor


@dataclass(frozen=True)
class Quantizer:
    """One quantizer of a network. ``key`` names its encoding: those that share it share the range."""

    node: Node
    key: str
    limits: tuple[int, int]
    axis: int

    @property
    def bits(self) -> int:
        return (self.limits[1] - self.limits[0]).bit_length()

    @property
    def source(self) -> Node:
        """The node whose value is quantized."""
        return self.node.all_input_nodes[0]

    @property
    def constant(self) -> bool:
        """Whether it quantizes a parameter."""
        return self.source.op == "get_attr"

    @staticmethod
    def of(node: Node) -> "Quantizer":
        """A quantize node seen as a Quantizer."""
        _, scale, _, qmin, qmax, axis = node.args
        key = str(scale.target).removeprefix(f"{HOME}.").removesuffix(".scale")  # type: ignore[union-attr]
        return Quantizer(node, key, (qmin, qmax), axis)  # type: ignore[arg-type]


@torch.library.custom_op("netsuke::quantize", mutates_args=())
def quantize(
    x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int, axis: int
) -> Tensor:
    """x on its integer grid, as floats: ``(clamp(round(x / scale) + zero_point) − zero_point) · scale``.

    Rounds half to even and computes in the dtype of ``x``, as QuantizeLinear does. scale and
    zero_point: shape (), or one for each index of dimension ``axis`` (axis −1: shape ()). The gradient
    passes straight through inside the range and is zero outside (Jacob et al., 2018).
    """
    step, zero = _along(x, scale, axis), _along(x, zero_point, axis)
    level = torch.round(x / step).add_(zero).clamp_(qmin, qmax)
    return level.sub_(zero).mul_(step)


@quantize.register_fake
def _(x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int, axis: int) -> Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale, zero_point, *ctx.grid = inputs
    ctx.save_for_backward(x, scale, zero_point)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, scale, zero_point = ctx.saved_tensors
    qmin, qmax, axis = ctx.grid
    level = torch.round(x / _along(x, scale, axis)) + _along(x, zero_point, axis)
    return grad * ((level >= qmin) & (level <= qmax)), None, None, None, None, None


quantize.register_autograd(_gradient, setup_context=_keep)
QUANTIZE = torch.ops.netsuke.quantize.default


def encode(low: Tensor, high: Tensor, scheme: Uniform) -> Encoding:
    """The encoding that spans low … high, widened to hold zero exactly (padding must be exact).

    low, high: shape () or (channels,). A range of width zero gets a scale of one step a unit.
    """
    qmin, qmax = scheme.limits
    low, high = low.double().clamp(max=0), high.double().clamp(min=0)
    spread = torch.maximum(-low, high) if scheme.symmetric else high - low
    scale = spread / (qmax if scheme.symmetric else qmax - qmin)
    # Runtimes hold scales in float32, and a denormal one divides to infinity.
    scale = torch.where(scale > torch.finfo(torch.float32).tiny, scale, 1.0).float()
    if scheme.symmetric:
        return Encoding(scale, torch.zeros_like(scale, dtype=torch.int32))
    zero_point = (qmin - torch.round(low / scale)).clamp(qmin, qmax)
    return Encoding(scale, zero_point.to(torch.int32))


def insert(network: GraphModule, value: Node, key: str, scheme: Uniform) -> Node:
    """A quantizer of ``value``, placed right after it; its users are left for the caller to redirect."""
    return insert_raw(network, value, key, scheme.limits, scheme.axis)


def insert_raw(
    network: GraphModule, value: Node, key: str, limits: tuple[int, int], axis: int
) -> Node:
    """As ``insert``, with integer limits that are no scheme's (a bias in 32 bits)."""
    graph = network.graph
    with graph.inserting_after(value):
        scale = graph.get_attr(f"{HOME}.{key}.scale")
    with graph.inserting_after(scale):
        zero_point = graph.get_attr(f"{HOME}.{key}.zero_point")
    with graph.inserting_after(zero_point):
        arguments = (value, scale, zero_point, *limits, axis)
        node = graph.create_node("call_function", QUANTIZE, arguments, name=f"quantized_{key}")
    node.meta = {k: v for k, v in value.meta.items() if k != "val"}
    return node


def write(network: GraphModule, key: str, encoding: Encoding) -> None:
    """Set the encoding of every quantizer with this key (in place)."""
    home = network.get_submodule(HOME) if hasattr(network, HOME) else torch.nn.Module()
    network.add_module(HOME, home)
    if not hasattr(home, key):
        home.add_module(key, torch.nn.Module())
    place = home.get_submodule(key)
    place.register_buffer("scale", encoding.scale.detach().clone())
    place.register_buffer("zero_point", encoding.zero_point.detach().clone())


def read(network: GraphModule, key: str) -> Encoding:
    """The encoding with this key."""
    place = network.get_submodule(f"{HOME}.{key}")
    return Encoding(place.get_buffer("scale"), place.get_buffer("zero_point"))


def quantizers(network: GraphModule) -> Iterator[Quantizer]:
    """Every quantizer of the network, in the order of the graph."""
    for node in network.graph.nodes:
        if node.op == "call_function" and node.target is QUANTIZE:
            yield Quantizer.of(node)


def _along(x: Tensor, values: Tensor, axis: int) -> Tensor:
    """values in the dtype of x (zero points too: the sum is in that dtype), broadcast on ``axis``."""
    values = values.to(x.dtype)
    if axis < 0:
        return values
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.view(shape)
