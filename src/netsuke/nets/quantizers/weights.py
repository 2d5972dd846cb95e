"""Weights coded on their own: the layer computes with floats, or with codes where a runtime can."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from netsuke.core.errors import NetsukeError
from netsuke.core.scheme import Cast, Lookup, Scheme, Uniform
from netsuke.nets import graph
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizers import lookup
from netsuke.nets.quantizers.calibrate import encode_weight
from netsuke.nets.quantizers.quantizer import insert, write
from netsuke.nets.quantizers.roles import READS_WEIGHT, op

HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def weights(network: GraphModule) -> dict[str, list[Node]]:
    """The parameters that layers have for weights, each with the layers that read it."""
    found: dict[str, list[Node]] = {}
    for node in network.graph.nodes:
        given = _weight(node) if op(node) in READS_WEIGHT else None
        if given is not None and isinstance(graph.tensor_of(network, given), nn.Parameter):
            found.setdefault(str(given.target), []).append(node)
    return found


def quantize_weights(network: GraphModule, schemes: Mapping[str, Scheme]) -> GraphModule:
    """A copy with BatchNorm folded and the named weights coded, encodings and all.

    schemes: a weight's name → its scheme. Raises NetsukeError naming a weight that holds NaN or
    infinite values, or that is no matrix where its scheme has groups.
    """
    network = fold_batchnorm(network)
    for name, readers in weights(network).items():
        if name in schemes:
            for node in readers:
                quantize_weight(network, node, schemes[name])
    return graph.rebuilt(network)


def quantize_weight(network: GraphModule, reader: Node, scheme: Scheme) -> None:
    """Code a layer's weight (in place); the encoding comes off its values. Raises as
    ``quantize_weights`` does."""
    weight = _weight(reader)
    held, name = graph.tensor_of(network, weight), str(weight.target)
    assert held is not None
    values = held.detach()
    if not bool(torch.isfinite(values).all()):
        raise NetsukeError(f"{name}: the weight holds NaN or infinite values; mend the model")
    if scheme.group and values.dim() != 2:
        raise NetsukeError(f"{name}: {scheme} needs a matrix, this has {values.dim()} dimensions")
    if scheme == Cast(kind="fp16") and float(values.abs().amax()) > torch.finfo(torch.float16).max:
        raise NetsukeError(f"{name}: has values that fp16 cannot hold; take bf16")
    coded = _coded(network, weight, values, f"{reader.name}_weight", scheme)
    reader.replace_input_with(weight, coded)


def _weight(reader: Node) -> Node:
    given = reader.args[READS_WEIGHT[op(reader)]]
    assert isinstance(given, Node)
    return given


def _coded(network: GraphModule, weight: Node, values: Tensor, key: str, scheme: Scheme) -> Node:
    if isinstance(scheme, Uniform):
        write(network, key, encode_weight(values, scheme))
        return insert(network, weight, key, scheme)
    if isinstance(scheme, Lookup):
        return lookup.insert(network, weight, key, lookup.fit(values, scheme), scheme)
    assert isinstance(scheme, Cast)
    return _halved(network, weight, HALVES[scheme.kind])


def _halved(network: GraphModule, weight: Node, kind: torch.dtype) -> Node:
    """To 16 bits and back to whatever the weight has, which a simulation may have changed."""
    aten = torch.ops.aten
    with network.graph.inserting_after(weight):
        half = network.graph.call_function(aten.to.dtype, (weight, kind))
    with network.graph.inserting_after(half):
        wide = network.graph.call_function(aten.to.other, (half, weight))
    half.meta = wide.meta = {k: v for k, v in weight.meta.items() if k != "val"}
    return wide
