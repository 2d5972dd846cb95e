"""Quantizers in a network: what integers a tensor becomes, and the operation that simulates it.

A quantizer is one node ``netsuke::quantize(x, scale, zero_point, qmin, qmax, axis, group)`` of the graph.
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
from netsuke.nets.quantizers.roles import READS_WEIGHT, op

HOME = "quantizers"
"""The submodule of a network that holds the buffers of its quantizers."""

SCHEME = "scheme"
"""Where a placed quantizer's node keeps its scheme among its metadata."""

BIAS_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class Encoding:
    """Scale (float) and zero point (int32), each of shape (), (channels,) or (rows, groups)."""

    scale: Tensor
    zero_point: Tensor


@dataclass(frozen=True)
class Quantizer:
    """One quantizer of a network. ``key`` names its encoding: those that share it share the range."""

    node: Node
    key: str
    limits: tuple[int, int]
    axis: int
    group: int = 0

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

    @property
    def scheme(self) -> Uniform:
        """As it was placed; in a network that was saved, as far as its limits tell."""
        placed = self.node.meta.get(SCHEME)
        if isinstance(placed, Uniform):
            return placed
        low, high = self.limits
        return Uniform(
            bits=self.bits, axis=self.axis, group=self.group, symmetric=low == -high,
            signed=None if low in (0, -high) else True,
        )  # fmt: skip

    @staticmethod
    def of(node: Node) -> "Quantizer":
        """A quantize node seen as a Quantizer."""
        _, scale, _, qmin, qmax, axis, *rest = node.args
        key = str(scale.target).removeprefix(f"{HOME}.").removesuffix(".scale")  # type: ignore[union-attr]
        return Quantizer(node, key, (qmin, qmax), axis, *rest)  # type: ignore[arg-type]


@torch.library.custom_op("netsuke::quantize", mutates_args=())
def quantize(
    x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int, axis: int, group: int = 0
) -> Tensor:
    """x on its integer grid, as floats: ``(clamp(round(x / scale) + zero_point) − zero_point) · scale``.

    Rounds half to even and computes in the dtype of ``x``, as QuantizeLinear does. scale and
    zero_point: shape (), or one for each index of dimension ``axis`` (axis −1: shape ()), or with a
    group one for each run of so many values along the rows of a matrix. The gradient passes straight
    through inside the range and is zero outside (Jacob et al., 2018).
    """
    step, zero = along(x, scale, axis, group), along(x, zero_point, axis, group)
    level = torch.round(x / step).add_(zero).clamp_(qmin, qmax)
    return level.sub_(zero).mul_(step)


@quantize.register_fake
def _(
    x: Tensor, scale: Tensor, zero_point: Tensor, qmin: int, qmax: int, axis: int, group: int = 0
) -> Tensor:
    return torch.empty_like(x)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale, zero_point, *ctx.grid = inputs
    ctx.save_for_backward(x, scale, zero_point)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, scale, zero_point = ctx.saved_tensors
    qmin, qmax, *shared = ctx.grid
    level = torch.round(x / along(x, scale, *shared)) + along(x, zero_point, *shared)
    return grad * ((level >= qmin) & (level <= qmax)), *[None] * 6


quantize.register_autograd(_gradient, setup_context=_keep)
QUANTIZE = torch.ops.netsuke.quantize.default


def encode(low: Tensor, high: Tensor, scheme: Uniform) -> Encoding:
    """The encoding that spans low … high, widened to hold zero exactly (padding must be exact).

    low, high: shape (), (channels,) or (rows, groups). A range of width zero gets a scale of one
    step a unit. Fixed point takes the next larger power of two.
    """
    qmin, qmax = scheme.limits
    low, high = low.double().clamp(max=0), high.double().clamp(min=0)
    spread = torch.maximum(-low, high) if scheme.symmetric else high - low
    scale = spread / (qmax if scheme.symmetric else qmax - qmin)
    # Runtimes hold scales in float32, and a denormal one divides to infinity.
    scale = torch.where(scale > torch.finfo(torch.float32).tiny, scale, 1.0).float()
    if scheme.power_of_two:
        scale = power_of_two(scale)
    if scheme.symmetric:
        return Encoding(scale, torch.zeros_like(scale, dtype=torch.int32))
    zero_point = (qmin - torch.round(low / scale)).clamp(qmin, qmax)
    return Encoding(scale, zero_point.to(torch.int32))


def power_of_two(scale: Tensor) -> Tensor:
    """The least power of two that is not smaller."""
    mantissa, exponent = torch.frexp(scale)
    return torch.ldexp(torch.ones_like(scale), exponent - (mantissa == 0.5).int())


def insert(network: GraphModule, value: Node, key: str, scheme: Uniform) -> Node:
    """A quantizer of ``value``, placed right after it; its users are left for the caller to redirect."""
    node = insert_raw(network, value, key, scheme.limits, scheme.axis, scheme.group)
    node.meta[SCHEME] = scheme
    return node


def insert_raw(
    network: GraphModule,
    value: Node,
    key: str,
    limits: tuple[int, int],
    axis: int,
    group: int = 0,
) -> Node:
    """As ``insert``, with integer limits that are no scheme's (a bias in 32 bits)."""
    graph = network.graph
    with graph.inserting_after(value):
        scale = graph.get_attr(f"{HOME}.{key}.scale")
    with graph.inserting_after(scale):
        zero_point = graph.get_attr(f"{HOME}.{key}.zero_point")
    with graph.inserting_after(zero_point):
        grouped = (group,) if group else ()
        arguments = (value, scale, zero_point, *limits, axis, *grouped)
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


def is_weight(q: Quantizer) -> bool:
    """Whether it quantizes what a layer has for a weight, or a parameter channel by channel."""
    return q.constant and (q.axis >= 0 or reads_weight(q.node))


def reads_weight(node: Node) -> bool:
    """Whether what the node makes of a parameter is what a layer has for a weight."""
    return node.all_input_nodes[0].op == "get_attr" and any(
        op(user) in READS_WEIGHT and user.args[READS_WEIGHT[op(user)]] is node
        for user in node.users
    )


def along(x: Tensor, values: Tensor, axis: int, group: int = 0) -> Tensor:
    """values in the dtype of x (zero points too: the sum is in that dtype), each where it applies:
    broadcast on ``axis``, or repeated for each run of ``group`` values in a row of a matrix."""
    values = values.to(x.dtype)
    if axis < 0:
        return values
    if group:
        return values.repeat_interleave(group, 1)[:, : x.shape[1]]
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.view(shape)
