"""Multiply-accumulates of one operation, from the shapes of what goes in and comes out."""

import math
from collections.abc import Callable, Mapping

from torch import fx

from netsuke.nets.graph import argument, op

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


def shape_of(node: fx.Node, index: int, known: Shapes) -> Shape:
    """The shape of an operation's ``index``-th tensor argument."""
    return known[node.all_input_nodes[index].name]


def macs(node: fx.Node, known: Shapes, out: Shape) -> int:
    """Multiply-accumulates of an operation whose output has shape ``out``; 0 where it has none."""
    count = MACS.get(op(node))
    return count(node, known, out) if count else 0


def _conv(node: fx.Node, known: Shapes, out: Shape) -> int:
    """Each output element sums over its group's input channels and the kernel."""
    weight = shape_of(node, 1, known)
    if argument(node, "transposed") is True:
        return _conv_transpose(node, known, out)
    return math.prod(out) * math.prod(weight[1:])


def _conv_transpose(node: fx.Node, known: Shapes, out: Shape) -> int:
    """Each input element is spread over its group's output channels and the kernel."""
    return math.prod(shape_of(node, 0, known)) * math.prod(shape_of(node, 1, known)[1:])


def _linear(node: fx.Node, known: Shapes, out: Shape) -> int:
    return math.prod(out) * shape_of(node, 1, known)[-1]


def _matmul(node: fx.Node, known: Shapes, out: Shape) -> int:
    return math.prod(out) * shape_of(node, 0, known)[-1]


def _addmm(node: fx.Node, known: Shapes, out: Shape) -> int:
    return math.prod(out) * shape_of(node, 1, known)[-1]


def _attention(node: fx.Node, known: Shapes, out: Shape) -> int:
    """Queries with keys, then weights with values; a causal mask saves nothing here."""
    query, key = shape_of(node, 0, known), shape_of(node, 1, known)
    return math.prod(query[:-1]) * key[-2] * (query[-1] + out[-1])


def _einsum(node: fx.Node, known: Shapes, out: Shape) -> int:
    """One product per combination of all indices; ellipses count what they stand for."""
    terms = str(node.args[0]).replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, fed in zip(terms, node.all_input_nodes, strict=True):
        hidden = len(known[fed.name]) - len(term.replace("...", ""))
        letters = term.replace("...", "".join(map(str, range(hidden))))
        sizes.update(zip(letters, known[fed.name], strict=True))
    return math.prod(sizes.values())


def _recurrent(node: fx.Node, known: Shapes, out: Shape) -> int:
    """Every weight matrix once per time step."""
    matrices = [known[n.name] for n in node.all_input_nodes if n.name in known]
    steps = math.prod(shape_of(node, 0, known)[:-1])
    return steps * sum(math.prod(s) for s in matrices if len(s) == 2)


MACS: dict[str, Callable[[fx.Node, Shapes, Shape], int]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _conv_transpose),
    **dict.fromkeys(("matmul", "bmm", "mm", "mv", "dot"), _matmul),
    **dict.fromkeys(("addmm", "baddbmm"), _addmm),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    "linear": _linear,
    "scaled_dot_product_attention": _attention,
    "einsum": _einsum,
}
