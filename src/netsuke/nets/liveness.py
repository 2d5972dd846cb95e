"""Which activations are in memory at once.

Each value lives from the operation that makes it to the last one that reads it (as in the arena planning
of TensorFlow Lite Micro: David et al., 2021). A view is the value it looks at; what a runtime computes
within the operation before takes that one's place.
"""

import math
from collections.abc import Collection, Mapping

from torch import fx

from netsuke.nets.graph import op
from netsuke.nets.inplace import is_view
from netsuke.nets.macs import Shapes


def alive(
    graph: fx.Graph, known: Shapes, live: Collection[fx.Node], fused: Collection[str]
) -> Mapping[fx.Node, int]:
    """Elements of activations in memory while each operation runs, for one sample, its own included.

    known: shapes by node. live: the nodes whose values depend on an input's. fused: names of operations
    that are computed within the one before where nothing else reads that.
    """
    nodes = list(graph.nodes)
    order = {node: i for i, node in enumerate(nodes)}
    home: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        if node in live:
            home[node] = _home(node, home, fused)
    sizes: dict[fx.Node, int] = {}
    last: dict[fx.Node, int] = {}
    for node, base in home.items():
        sizes[base] = max(sizes.get(base, 0), math.prod(known.get(node.name, (0,))))
        ends = [order[user] for user in node.users] or [order[node]]
        last[base] = max(last.get(base, 0), *ends)
    return _swept(nodes, home, sizes, last)


def _home(node: fx.Node, home: Mapping[fx.Node, fx.Node], fused: Collection[str]) -> fx.Node:
    """The node whose memory a value stands in."""
    fed = [n for n in node.all_input_nodes if n in home]
    if not fed:
        return node
    alone = len(fed) == 1 and len(fed[0].users) == 1 and op(node).strip("_") in fused
    quiet = op(node).startswith(("netsuke.", "operator.getitem")) or op(node) in (
        "dropout",
        "to",
        "contiguous",
    )
    return home[fed[0]] if is_view(node) or alone or quiet else node


def _swept(
    nodes: list[fx.Node],
    home: Mapping[fx.Node, fx.Node],
    sizes: Mapping[fx.Node, int],
    last: Mapping[fx.Node, int],
) -> Mapping[fx.Node, int]:
    now, found = 0, {}
    ends: dict[int, int] = {}
    for i, node in enumerate(nodes):
        if home.get(node) is node:
            now += sizes[node]
            ends[last[node]] = ends.get(last[node], 0) + sizes[node]
        found[node] = now
        now -= ends.pop(i, 0)
    return found
