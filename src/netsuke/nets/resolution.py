"""A network that makes its pictures smaller before it looks at them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.nets.graph import clone, op, rebuilt, shapes, where
from netsuke.nets.trace import first_line

aten = torch.ops.aten
RESIZE = aten._upsample_bilinear2d_aa.default
RESIZED = "_upsample_bilinear2d_aa"
POOLS = {"avg_pool2d": aten.adaptive_avg_pool2d.default, "max_pool2d": aten.amax.default}
"""Pools over a fixed window, and what pools the whole picture whatever its size."""
SMALLEST = 2
"""Pixels a side."""

Shape = tuple[int, ...]


def lowered(model: Model, multiplier: float) -> GraphModule:
    """The network behind a resize of its pictures (inputs of four dimensions) to this share of each side,
    with a filter as wide as the shrinking, so that nothing aliases.

    What comes in stays as large as it was, and pools over the whole picture stay that. Raises NetsukeError where
    the network has no pictures, shrinks them already, or wants a fixed size: it names the layer.
    """
    network, known = clone(model.network), shapes(model.network, model.example)
    inputs = [n for n in network.graph.nodes if n.op == "placeholder"]
    pictures = [n for n in inputs if _is_picture(known[n.name])]
    if not pictures:
        raise NetsukeError("no input is a picture (samples, channels, height, width)")
    if any(op(user) == RESIZED for n in pictures for user in n.users):
        raise NetsukeError("its pictures are made smaller already; give one multiplier for both")
    for node in network.graph.nodes:
        if op(node) in POOLS and _pools_all(node, known):
            _free(node)
    for node in pictures:
        _resize(node, smaller(known[node.name], multiplier))
    rebuilt(network)
    _check(network, model, known)
    return network


def smaller(shape: Sequence[int], multiplier: float) -> tuple[int, int]:
    """Height and width of a picture of this shape after the resize."""
    height, width = (max(SMALLEST, round(multiplier * side)) for side in shape[-2:])
    return height, width


def _is_picture(shape: Shape) -> bool:
    return len(shape) == 4 and min(shape[2:]) > SMALLEST


def _pools_all(node: Node, known: Mapping[str, Shape]) -> bool:
    """Whether one window covers the picture: no other can be meant by it."""
    before, after = known[node.all_input_nodes[0].name], known[node.name]
    return before[-2:] != (1, 1) and after[-2:] == (1, 1)


def _free(node: Node) -> None:
    extra: Any = ([-2, -1], True) if op(node) == "max_pool2d" else ([1, 1],)
    node.target, node.args, node.kwargs = POOLS[op(node)], (node.args[0], *extra), {}


def _resize(node: Node, size: tuple[int, int]) -> None:
    with node.graph.inserting_after(node):
        small = node.graph.call_function(RESIZE, (node, list(size), False))
    small.meta["dims"] = 4
    node.replace_all_uses_with(small, delete_user_cb=lambda user: user is not small)


def _check(network: GraphModule, model: Model, known: Mapping[str, Shape]) -> None:
    """Raise where a picture of another size does not go through, or changes the outputs' shape."""
    network.train(model.network.training)
    runner = _Located(network)
    try:
        with torch.no_grad():
            given = runner.run(*model.example)
    except (RuntimeError, ValueError, IndexError) as error:
        place = where(runner.at) if runner.at else model.name
        raise NetsukeError(
            f"{place} wants pictures of one size: {first_line(error.__cause__ or error)}"
        ) from error
    out = next(n for n in model.network.graph.nodes if n.op == "output")
    wanted = [known[n.name] for n in out.all_input_nodes]
    found = [tuple(t.shape) for t in ((given,) if isinstance(given, Tensor) else given)]
    if found != wanted:
        raise NetsukeError(f"its outputs are as large as its pictures: {wanted[0][1:]}")


class _Located(Interpreter):
    """Remembers which node runs."""

    def __init__(self, network: GraphModule) -> None:
        super().__init__(network)
        self.extra_traceback = False
        self.at: Node | None = None

    def run_node(self, n: Node) -> Any:
        self.at = n
        return super().run_node(n)
