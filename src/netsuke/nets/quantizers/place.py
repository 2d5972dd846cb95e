"""Where quantizers stand: one placement, for simulation, training and export.

Quantizers stand at the boundaries of what a runtime fuses, and nowhere else: behind a convolution
with its activation, behind an addition with its activation, behind pools, at the input. Values that
only move (slices, pads, views, concatenations, maximum pools) share one encoding, so that they move
as integers. What has no integer kernel, or would only be quantized to be dequantized again, stays
float, and ``left_float`` says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.core.errors import NetsukeError
from netsuke.core.scheme import Scheme, Uniform
from netsuke.nets import graph
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizers import activations
from netsuke.nets.quantizers.activations import halved
from netsuke.nets.quantizers.lookup import lookups
from netsuke.nets.quantizers.quantizer import (
    BIAS_LIMIT,
    QUANTIZE,
    Encoding,
    insert,
    insert_raw,
    quantizers,
    write,
)
from netsuke.nets.quantizers.roles import WEIGHTED, moves, op
from netsuke.nets.quantizers.sites import Sites
from netsuke.nets.quantizers.weights import quantize_weight

PRODUCTS = frozenset({
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear",
    "matmul", "bmm", "addmm", "baddbmm", "einsum", "lstm", "gru", "rnn_tanh", "rnn_relu",
    "scaled_dot_product_attention",
})  # fmt: skip
"""Operations that multiply and accumulate: what one expects a quantizer to reach."""


WEIGHT, ACTIVATION = Uniform(symmetric=True, axis=0), Uniform()
"""What onnxruntime's integer kernels take: a scale a channel, a scale a tensor."""


@dataclass(frozen=True)
class Plan:
    """Which scheme each tensor gets.

    weights, activations: where nothing else is said. own_weights: a weight's name → its scheme.
    own_inputs: a weight's name → the scheme of what its layer reads; where layers that read one
    tensor differ, the one with the most bits. Activations have one scale a tensor.
    """

    weights: Scheme = WEIGHT
    activations: Scheme = ACTIVATION
    own_weights: Mapping[str, Scheme] = field(default_factory=dict)
    own_inputs: Mapping[str, Scheme] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for scheme in (self.activations, *self.own_inputs.values()):
            if scheme.axis >= 0:
                raise NetsukeError(
                    f"scheme: activations in {scheme}; they have one scale a tensor, so axis must be -1"
                )

    @staticmethod
    def of(weights: int = 8, activations: int = 8) -> "Plan":
        """Every weight at so many bits, one scale a channel; every activation at so many."""
        return Plan(Uniform(bits=weights, symmetric=True, axis=0), Uniform(bits=activations))


def place(network: GraphModule, example: Sequence[Tensor], plan: Plan | None = None) -> GraphModule:
    """A copy with BatchNorm folded and quantizers placed, their encodings still unset.

    example: inputs to learn shapes and types from. Parameters keep their names, except those of
    folded BatchNorm.
    """
    plan = plan or Plan()
    network = fold_batchnorm(network)
    _split_silu(network)
    sites = Sites(network, graph.values(network, example))
    for key, roots in sites.quantized().items():
        scheme = _activation(sites, roots[0], plan)
        for root in roots:
            _after(network, sites, root, key, scheme)
    for node in list(network.graph.nodes):
        if node in sites.integer and op(node) in WEIGHTED:
            _weights(network, node, plan)
    return graph.rebuilt(network)


def left_float(network: GraphModule) -> tuple[str, ...]:
    """Operations of a placed network that multiply floats, each with its place in the user's code."""
    return tuple(
        f"{graph.where(node)}: {op(node)}"
        for node in network.graph.nodes
        if op(node) in PRODUCTS and not _reads_quantizers(node)
    )


def is_quantized(network: GraphModule) -> bool:
    return any(True for _ in (*quantizers(network), *lookups(network), *halved(network)))


def _reads_quantizers(node: Node) -> bool:
    """Whether both factors of a product come off quantizers, moved or not."""
    return all(_source(a).target is QUANTIZE for a in node.args[:2] if isinstance(a, Node))


def _source(value: Node) -> Node:
    """Where a value that was only moved comes from."""
    while moves(value):
        value = value.all_input_nodes[0]
    return value


def _split_silu(network: GraphModule) -> None:
    """SiLU as the product it is: both its parts have integer kernels, the whole has none."""
    for node in list(network.graph.nodes):
        if op(node) == "silu":
            x, aten = node.args[0], torch.ops.aten
            with network.graph.inserting_before(node):
                gate = network.graph.call_function(aten.sigmoid.default, (x,))
                product = network.graph.call_function(aten.mul.Tensor, (x, gate))
            gate.meta = product.meta = dict(node.meta)
            node.replace_all_uses_with(product)
            network.graph.erase_node(node)


def _activation(sites: Sites, root: Node, plan: Plan) -> Scheme:
    """The scheme of the encoding a root shares: the widest that the layers reading it ask for."""
    wanted = []
    for reader in sites.integer:
        if op(reader) in WEIGHTED:
            value, weight = reader.all_input_nodes[:2]
            if sites.share(value, root):
                wanted.append(plan.own_inputs.get(str(weight.target), plan.activations))
    return max(wanted, key=lambda scheme: scheme.bits, default=plan.activations)


def _after(network: GraphModule, sites: Sites, value: Node, key: str, scheme: Scheme) -> None:
    """Put a quantizer behind a value; all that read it read the quantizer, except that floats stay
    as they are for what computes in float (a residual stream around products)."""
    quantizer = activations.insert(network, value, key, scheme)
    kept = {quantizer, *sites.float_readers(value)}
    value.replace_all_uses_with(quantizer, delete_user_cb=lambda user: user not in kept)


def _weights(network: GraphModule, node: Node, plan: Plan) -> None:
    """Quantizers for a weight and the bias that joins its sums, which are of integers only where what
    it is multiplied by is one and the weight is held in bytes, a scale a channel; else the bias stays
    a float."""
    weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    name = str(node.all_input_nodes[1].target)
    scheme = plan.own_weights.get(name, plan.weights)
    integers = _source(node.all_input_nodes[0]).target is QUANTIZE
    if not isinstance(scheme, Uniform) or scheme.bits > 8 or scheme.group or not integers:
        quantize_weight(network, node, scheme)
        return
    channels = len(graph.tensor_of(network, weight))  # type: ignore[arg-type]
    unset = Encoding(torch.ones(channels), torch.zeros(channels, dtype=torch.int32))
    key = f"{node.name}_weight"
    write(network, key, unset)
    node.replace_input_with(weight, insert(network, weight, key, scheme))  # type: ignore[arg-type]
    if isinstance(bias, Node):
        key = f"{node.name}_bias"
        write(network, key, unset)
        limits = (-BIAS_LIMIT, BIAS_LIMIT)
        node.replace_input_with(bias, insert_raw(network, bias, key, limits, 0))
