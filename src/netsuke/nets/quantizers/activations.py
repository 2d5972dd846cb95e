"""Quantizers of activations: which operation a scheme becomes, and its encoding from what was seen."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.core.errors import NetsukeError
from netsuke.core.scheme import Cast, Lookup, Scheme, Uniform
from netsuke.nets import graph
from netsuke.nets.quantizers import lookup, quantizer
from netsuke.nets.quantizers.lookup import Levels, codebook, lookups, spanning, table
from netsuke.nets.quantizers.quantizer import (
    BIAS_LIMIT,
    SCHEME,
    Encoding,
    encode,
    is_weight,
    quantizers,
    reads_weight,
)
from netsuke.nets.quantizers.ranges import Histogram, Ranges

HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}


@torch.library.custom_op("netsuke::halve", mutates_args=())
def halve(x: Tensor, kind: str) -> Tensor:
    """x rounded half to even to a float of 16 bits, ``fp16`` or ``bf16``, in the dtype of ``x``.

    What fp16 cannot hold becomes infinite. The gradient passes straight through, unrounded.
    """
    return x.to(HALVES[kind], copy=True).to(x.dtype)


@halve.register_fake
def _(x: Tensor, kind: str) -> Tensor:
    return torch.empty_like(x)


def _gradient(ctx: object, grad: Tensor) -> tuple[Tensor, None]:
    return grad, None


halve.register_autograd(_gradient)
HALVE = torch.ops.netsuke.halve.default


@dataclass(frozen=True)
class Activation:
    """A quantizer of what is no parameter of a layer. key: those that share one share the range."""

    node: Node
    key: str
    scheme: Scheme

    @property
    def source(self) -> Node:
        """The node whose value is quantized."""
        return self.node.all_input_nodes[0]


def activations(network: GraphModule) -> Iterator[Activation]:
    """Every quantizer that calibration must see the values of."""
    for q in quantizers(network):
        if not is_weight(q) and q.limits[1] != BIAS_LIMIT:
            yield Activation(q.node, q.key, q.scheme)
    for t in lookups(network):
        if not reads_weight(t.node):
            yield Activation(t.node, t.key, lookup.scheme_of(network, t))
    for node in halved(network):
        yield Activation(node, node.name, Cast(kind=node.args[1]))  # type: ignore[arg-type]


def halved(network: GraphModule) -> Iterator[Node]:
    """Every ``halve`` of the network, in the order of the graph."""
    return (node for node in network.graph.nodes if node.target is HALVE)


def insert(network: GraphModule, value: Node, key: str, scheme: Scheme) -> Node:
    """A quantizer of ``value``, its encoding unset, placed right after it; its users are left for the
    caller to redirect."""
    if isinstance(scheme, Uniform):
        unset = Encoding(torch.tensor(1.0), torch.tensor(0, dtype=torch.int32))
        quantizer.write(network, key, unset)
        return quantizer.insert(network, value, key, scheme)
    if isinstance(scheme, Lookup):
        node = lookup.insert(network, value, key, _unset(scheme), scheme)
        node.meta[SCHEME] = scheme
        return node
    assert isinstance(scheme, Cast)
    with network.graph.inserting_after(value):
        node = network.graph.call_function(HALVE, (value, scheme.kind))
    node.meta = {k: v for k, v in value.meta.items() if k != "val"}
    return node


def set_encoding(network: GraphModule, at: Activation, seen: Histogram, ranges: Ranges) -> None:
    """Set the encoding of an activation, and of all that share it, from what it was (in place).

    A table is stretched until its last level reaches the end of the range that is farther from zero;
    a codebook is fitted to all values whatever the range; a 16-bit float has no encoding. Raises
    NetsukeError for values that fp16 cannot hold.
    """
    if isinstance(at.scheme, Cast):
        _check_reach(at, seen)
    elif isinstance(at.scheme, Lookup):
        lookup.write(network, at.key, _levels(at.scheme, seen, ranges))
    else:
        assert isinstance(at.scheme, Uniform)
        low, high = ranges.of(seen, at.scheme)
        made = encode(torch.tensor(low), torch.tensor(high), at.scheme)
        quantizer.write(network, at.key, made)


def _unset(scheme: Lookup) -> Levels:
    if scheme.table == "kmeans":
        return Levels(torch.linspace(-1, 1, 2**scheme.bits), torch.tensor(1.0))
    return Levels(table(scheme), torch.tensor(1.0))


def _levels(scheme: Lookup, seen: Histogram, ranges: Ranges) -> Levels:
    if scheme.table == "kmeans":
        filled = seen.counts > 0
        values, counts = seen.centres[filled], seen.counts[filled]
        return Levels(codebook(values, scheme.bits, counts), torch.tensor(1.0))
    low, high = ranges.of(seen, scheme)
    return spanning(torch.tensor(max(-low, high), dtype=torch.float64), scheme)


def _check_reach(at: Activation, seen: Histogram) -> None:
    assert isinstance(at.scheme, Cast)
    most, reach = torch.finfo(HALVES[at.scheme.kind]).max, max(-seen.low, seen.high)
    if reach > most:
        where = graph.where(at.source)
        raise NetsukeError(
            f"calibrate: values up to {reach:.3g} at {where}, which fp16 cannot hold; take bf16"
        )
