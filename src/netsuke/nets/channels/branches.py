"""Residual branches: whole sequences of layers that can leave, so that only the shortcut stays."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch.fx import Graph, GraphModule, Node

from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.nets.graph import (
    clone,
    drop_unused,
    module_name,
    op,
    rebuilt,
    set_tensor,
    shapes,
    values,
    where,
)

SUMS = ("conv1d", "conv2d", "conv3d", "linear", "matmul", "bmm", "scaled_dot_product_attention")
KEEPS_SIGN = (
    "slice",
    "pad",
    "constant_pad_nd",
    "view",
    "reshape",
    "permute",
    "max_pool2d",
    "dropout",
)
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Branch:
    """One operand of a residual addition. add: the addition's node. operand: 0 or 1.

    name: the user's module around it. nodes: names of all nodes that only this branch needs. layers:
    those with parameters among them.
    """

    add: str
    operand: int
    name: str
    nodes: frozenset[str]
    layers: tuple[str, ...] = ()


def branches(model: Model) -> tuple[Branch, ...]:
    """Every residual branch whose shortcut has no weights of its own (He et al., 2016)."""
    sizes = shapes(model.network, model.example)
    found = []
    for node in model.network.graph.nodes:
        if op(node) in ("add", "add_") and _is_plain(node):
            cones = [_cone(operand, node) for operand in node.args[:2]]
            heavy = [any(op(n) in SUMS for n in cone) for cone in cones]
            if (
                sum(heavy) == 1
                and len({sizes[a.name] for a in node.args[:2]} | {sizes[node.name]}) == 1
            ):
                found.append(_branch(node, heavy.index(True), cones))
    return tuple(found)


def _branch(add: Node, operand: int, cones: list[set[Node]]) -> Branch:
    cone = cones[operand]
    used = (
        str(n.target).rpartition(".")[0]
        for n in add.graph.nodes
        if n in cone and n.op == "get_attr"
    )
    layers = tuple(name for name in dict.fromkeys(used) if name)
    return Branch(
        add.name, operand, module_name(add) or add.name, frozenset(n.name for n in cone), layers
    )


def drop(model: Model, leaving: Iterable[Branch]) -> GraphModule:
    """A new network where only the shortcuts of these branches are left.

    Raises NetsukeError where it does not compute what the network with silenced branches does.
    """
    leaving = tuple(leaving)
    network = clone(model.network)
    shorten(network.graph, leaving)
    rebuilt(network)
    drop_unused(network)
    _check(network, silence(model, leaving), model)
    return network


def shorten(graph: Graph, leaving: Iterable[Branch]) -> None:
    """Edit the graph so that only the shortcuts of these branches are read."""
    nodes = {n.name: n for n in graph.nodes}
    for branch in leaving:
        add = nodes[branch.add]
        shortcut = add.args[1 - branch.operand]
        again = [n for n in add.users if op(n) in ("relu", "relu_") and _is_positive(shortcut)]
        for twin in again:
            twin.replace_all_uses_with(shortcut)
            graph.erase_node(twin)
        add.replace_all_uses_with(shortcut)
        graph.erase_node(add)


def silence(model: Model, leaving: Iterable[Branch]) -> GraphModule:
    """The whole network with these branches multiplied by zero."""
    network = clone(model.network)
    for name in add_gates(network, leaving).values():
        set_tensor(network, name, torch.zeros(()))
    return network


def add_gates(network: GraphModule, at: Iterable[Branch]) -> dict[Branch, str]:
    """Multiply each branch by a buffer that holds 1; the buffers' names by branch."""
    names = {}
    nodes = {n.name: n for n in network.graph.nodes}
    for i, branch in enumerate(at):
        add, name = nodes[branch.add], f"branch_gate_{i}"
        set_tensor(network, name, torch.ones(()))
        with network.graph.inserting_before(add):
            gate = network.graph.get_attr(name)
            gated = network.graph.call_function(
                torch.ops.aten.mul.Tensor, (add.args[branch.operand], gate)
            )
        add.update_arg(branch.operand, gated)
        names[branch] = name
    rebuilt(network)
    return names


def _is_plain(node: Node) -> bool:
    """An addition of two different tensors, unscaled."""
    a, b = (*node.args, None, None)[:2]
    unscaled = bool(node.kwargs.get("alpha", 1) == 1)
    return isinstance(a, Node) and isinstance(b, Node) and a is not b and unscaled


def _cone(operand: Node, add: Node) -> set[Node]:
    """The nodes that nothing but this operand of the addition needs."""
    cone: set[Node] = set()
    waiting = [operand]
    while waiting:
        node = waiting.pop()
        inner = all(user in cone for user in node.users) or (
            node is operand and len(node.users) == 1
        )
        if inner and node not in cone:
            cone.add(node)
            waiting += node.all_input_nodes
    return {n for n in cone if n.op != "placeholder"}


def _is_positive(node: object) -> bool:
    """Whether a value is never below zero, so that another ReLU changes nothing."""
    while isinstance(node, Node) and op(node) in KEEPS_SIGN:
        node = node.args[0]
    return isinstance(node, Node) and op(node) in ("relu", "relu_", "relu6")


def _check(dropped: GraphModule, silenced: GraphModule, model: Model) -> None:
    wanted, given = values(silenced, model.example), values(dropped, model.example)
    for node in dropped.graph.nodes:
        if node.name in given and node.op == "call_function":
            a, b = given[node.name], wanted[node.name]
            if a.is_floating_point() and (a - b).abs().max() > TOLERANCE * b.abs().max().clamp(
                min=1e-6
            ):
                raise NetsukeError(
                    f"pruning: {where(node)} does not compute what it did with the branch silenced; "
                    "please report it"
                )
