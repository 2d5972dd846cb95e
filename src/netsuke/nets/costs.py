"""What each layer costs for one sample: parameters, activations, multiply-accumulates, bits."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import fx, nn

from netsuke.core.layer import Layer
from netsuke.core.model import Model
from netsuke.nets.graph import argument, module_name, op, shapes, source, tensor_of
from netsuke.nets.inplace import is_view
from netsuke.nets.liveness import alive
from netsuke.nets.macs import Shape, Shapes, macs, shape_of
from netsuke.nets.quantizers.lookup import bits_of, small_float

QUANTIZE, DYNAMIC, LOOKUP = "netsuke.quantize", "netsuke.quantize_dynamic", "netsuke.lookup"
HALVE = "netsuke.halve"
QUANTIZERS = frozenset({QUANTIZE, DYNAMIC, LOOKUP, HALVE})
HALVES = {torch.float16: "fp16", torch.bfloat16: "bf16"}
# Operations which runtimes compute within the one before, so that their outputs are never stored.
FUSED = frozenset({
    "batch_norm", "celu", "clamp", "clamp_min", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh",
    "leaky_relu", "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "tanh",
})  # fmt: skip
# The same numbers in another place: no arithmetic. In eval mode dropout is one of them.
MOVES = frozenset(
    ("alpha_dropout", "clone", "contiguous", "copy", "dropout", "feature_dropout", "to")
)


@dataclass(frozen=True)
class Totals:
    """Sums over a network, for one sample: elements, elements, multiply-accumulates."""

    weights: int
    activations: int
    macs: int

    def bytes(self, bits: int = 32) -> float:
        """Weights and activations together, every element at ``bits`` bits."""
        return (self.weights + self.activations) * bits / 8


def totals(layers: Iterable[Layer]) -> Totals:
    """Sum the layers; activations are the outputs which a fusing runtime stores.

    Of convolution + BatchNorm + ReLU only the last output is ever in memory, so outputs of
    BatchNorm and of activation functions are left out; those of convolutions, additions, pooling
    and linear layers count. So counted, ResNet-50 as first published (stride in the 1×1
    convolution) has 25.6 M weights and 16.3 M activations at 224²: the widely quoted
    "26 M weights + 16 M activations ≈ 168 MB in FP32". The variant with the stride in the 3×3
    convolution, today's default, has 16.8 M; every operation's output counted, it is 37.6 M.
    """
    each = tuple(layers)
    return Totals(
        weights=sum(layer.weights for layer in each),
        activations=sum(layer.outputs for layer in each if layer.op not in FUSED),
        macs=sum(layer.macs for layer in each),
    )


def macs_left(before: Model, after: Model) -> float:
    """The share of the multiply-accumulates that is left."""
    was, now = (totals(layers(model)).macs for model in (before, after))
    return now / was


def layers(model: Model) -> tuple[Layer, ...]:
    """One Layer per operation that computes on the data, in order, for one sample.

    Left out: what only moves or reshapes data, quantizers (they set the bits of what they feed),
    and what does not depend on the input's values (position tables, masks): a parameter read there
    is counted where it meets the data, and one read by several operations with the first of them.
    Elementwise operations and norms have no MACs.
    """
    network: fx.GraphModule = model.network
    known = shapes(network, tuple(t[:1] for t in model.example))
    live = _live(network.graph)
    nodes = [n for n in network.graph.nodes if n in live and op(n) and not _moves(n)]
    read = {node: _parameters(network, node, live) for node in nodes}
    held = alive(network.graph, known, live, FUSED)
    counted: set[str] = set()
    found = []
    for node, name in zip(nodes, _names(read), strict=True):
        weights = sum(size for key, size in read[node].items() if key not in counted)
        counted |= read[node].keys()
        fed = [n for n in node.all_input_nodes if n in live and n.name in known]
        made = _layer(node, name, (weights, _weight_bits(network, node)), fed, known)
        coded = _coding(node, fed)
        activation_bits = max((_bits(network, q) for q in coded), default=32)
        kind = _format(network, node, coded)
        found.append(replace(made, activation_bits=activation_bits, format=kind, alive=held[node]))
    return tuple(found)


def peak(graph: fx.Graph, known: Shapes) -> int:
    """Elements of activations that are in memory at once, at most, for one sample or as many as ``known`` is of."""
    return max(alive(graph, known, _live(graph), FUSED).values(), default=0)


def _live(graph: fx.Graph) -> set[fx.Node]:
    """The nodes whose value depends on the values, not just the sizes, of an input."""
    live: set[fx.Node] = set()
    for node in graph.nodes:
        fed = any(n in live for n in node.all_input_nodes)
        if node.op == "placeholder" or (fed and not op(node).startswith(("sym_", "new_"))):
            live.add(node)
    return live


def _moves(node: fx.Node) -> bool:
    name = op(node)
    quiet = name in MOVES or name in QUANTIZERS or name.startswith("operator.")
    return quiet or name.endswith("_like") or is_view(node)


def _names(read: Mapping[fx.Node, Mapping[str, int]]) -> list[str]:
    """The user's module where it is one operation, else a name within it; no name twice."""
    shared = Counter(module_name(node) for node in read)
    taken: Counter[str] = Counter()
    names = []
    for node, parameters in read.items():
        name = module_name(node)
        if not name or shared[name] > 1:
            own = next(iter(parameters), "").rpartition(".")[0]
            name = own if own and own != name else ".".join(filter(None, (name, op(node))))
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"{name}_{taken[name]}")
    return names


def _layer(
    node: fx.Node, name: str, weights: tuple[int, int], fed: list[fx.Node], known: Shapes
) -> Layer:
    out = _output(node, known)
    channels, groups = _channels(node, known)
    return Layer(
        name=name,
        op=op(node).strip("_"),
        source=source(node),
        shape=out[1:],
        weights=weights[0],
        inputs=sum(math.prod(known[n.name]) for n in fed),
        outputs=_elements(node, known),
        macs=macs(node, known, out),
        channels=channels,
        groups=groups,
        weight_bits=weights[1],
    )


def _parameters(
    network: fx.GraphModule, node: fx.Node, live: Collection[fx.Node]
) -> dict[str, int]:
    """The parameters an operation reads, as they are or computed upon, with element counts."""
    found: dict[str, int] = {}
    for given in node.all_input_nodes:
        tensor = tensor_of(network, given)
        if isinstance(tensor, nn.Parameter):
            found[str(given.target)] = tensor.numel()
        elif given not in live:
            found |= _parameters(network, given, live)
    return found


def _elements(node: fx.Node, known: Shapes) -> int:
    """Elements written, over all outputs of an operation with several."""
    if node.name in known:
        return math.prod(known[node.name])
    return sum(math.prod(known[user.name]) for user in node.users if user.name in known)


def _output(node: fx.Node, known: Shapes) -> Shape:
    """The shape of the output, of the first one where there are several."""
    if node.name in known:
        return known[node.name]
    return next((known[user.name] for user in node.users if user.name in known), ())


def _weight_bits(network: fx.GraphModule, node: fx.Node) -> int:
    """Bits of a weight's codes. Scales and codebooks are in the size of the file."""
    bits = [b for n in node.all_input_nodes if (b := code_bits(network, n)) is not None]
    return min(bits, default=32)  # a bias is kept at 32 bits beside weights of 8


def code_bits(network: fx.GraphModule, node: fx.Node) -> int | None:
    """Of a coded parameter; None for all else."""
    if op(node) == "to" and op(node.all_input_nodes[0]) == "to":
        node = node.all_input_nodes[0]
    if not node.all_input_nodes or node.all_input_nodes[0].op != "get_attr":
        return None
    if op(node) in (QUANTIZE, LOOKUP):
        return _bits(network, node)
    kind = node.args[1] if op(node) == "to" else None
    return kind.itemsize * 8 if isinstance(kind, torch.dtype) else None


def _coding(node: fx.Node, fed: list[fx.Node]) -> list[fx.Node]:
    """The quantizers of what feeds it, or for a fused operation of what it feeds; none where floats
    are among it."""
    before = [_quantizer(n) for n in fed]
    if before and all(n is not None for n in before):
        return [n for n in before if n is not None]
    if op(node) in FUSED and node.users and all(op(u) in QUANTIZERS for u in node.users):
        return list(node.users)
    return []


def _format(network: fx.GraphModule, node: fx.Node, coded: list[fx.Node]) -> str:
    """The format of its arithmetic where it computes with coded values that are no integers."""
    if not coded:
        return ""
    held = [n for n in node.all_input_nodes if code_bits(network, n) is not None]
    kinds = {_kind(network, n) for n in (*coded, *held)}
    if kinds <= {"int"}:
        return ""
    return kinds.pop() if len(kinds) == 1 else "fp32"


def _kind(network: fx.GraphModule, quantizer: fx.Node) -> str:
    """What its codes are: integers, a type of float, or entries of a table of 32-bit floats."""
    if op(quantizer) in (QUANTIZE, DYNAMIC):
        return "int"
    if op(quantizer) == HALVE:
        return str(argument(quantizer, "kind"))
    if op(quantizer) == LOOKUP:
        levels = tensor_of(network, quantizer.args[1])
        return "fp32" if levels is None else small_float(levels) or "fp32"
    kind = quantizer.all_input_nodes[0].args[1]
    return HALVES.get(kind, "fp32") if isinstance(kind, torch.dtype) else "fp32"


def _quantizer(node: fx.Node) -> fx.Node | None:
    """The quantizer a value comes from, through views of it."""
    while op(node) not in QUANTIZERS:
        if not node.all_input_nodes or not _moves(node):
            return None
        node = node.all_input_nodes[0]
    return node


def _bits(network: fx.GraphModule, quantizer: fx.Node) -> int:
    if op(quantizer) == HALVE:
        return 16
    if op(quantizer) == LOOKUP:
        levels = tensor_of(network, quantizer.args[1])
        return 32 if levels is None else bits_of(len(levels))
    if op(quantizer) != QUANTIZE:
        return 8
    return int(argument(quantizer, "qmax") - argument(quantizer, "qmin")).bit_length()


def _channels(node: fx.Node, known: Shapes) -> tuple[tuple[int, int], int]:
    """(in, out) channels and groups of a convolution or linear layer; else (0, 0) and 1."""
    name = op(node)
    groups = int(argument(node, "groups", 1))
    if name.startswith("conv"):
        first, second = shape_of(node, 1, known)[:2]
        transposed = name.startswith("conv_transpose") or argument(node, "transposed") is True
        inside, out = (first, second * groups) if transposed else (second * groups, first)
        return (inside, out), groups
    if name == "linear":
        out, inside = shape_of(node, 1, known)
        return (inside, out), 1
    return (0, 0), 1
