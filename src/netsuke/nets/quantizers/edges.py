"""The first and the last layers of a network: those that low precision hurts most."""

from dataclasses import replace

from torch.fx import GraphModule, Node

from netsuke.nets.quantizers.place import Plan
from netsuke.nets.quantizers.roles import rounds


def with_edges(network: GraphModule, plan: Plan, edge: Plan) -> Plan:
    """The plan, with the schemes of ``edge`` for the first and the last layers and what they read."""
    ends = edges(network)
    return replace(
        plan,
        own_weights={**dict.fromkeys(ends, edge.weights), **plan.own_weights},
        own_inputs={**dict.fromkeys(ends, edge.activations), **plan.own_inputs},
    )


def edges(network: GraphModule) -> frozenset[str]:
    """Names of the weights of layers that have no other weighted layer before them, or none behind."""
    nodes = list(network.graph.nodes)
    before, behind = _beyond(nodes, forwards=True), _beyond(nodes[::-1], forwards=False)
    return frozenset(
        str(node.args[1].target)
        for node in nodes
        if rounds(node) and _weight(node) and (node not in before or node not in behind)
    )


def _beyond(nodes: list[Node], *, forwards: bool) -> set[Node]:
    """The nodes that lie beyond some weighted layer, in the order given."""
    found: set[Node] = set()
    for node in nodes:
        if node in found or rounds(node):
            found.update(node.users if forwards else node.all_input_nodes)
    return found


def _weight(node: Node) -> bool:
    return isinstance(node.args[1], Node) and node.args[1].op == "get_attr"
