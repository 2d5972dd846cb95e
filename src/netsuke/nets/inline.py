"""Regions which torch.export sets apart as sub-graphs, copied back into the one graph."""

import operator
from typing import Any

from torch import fx
from torch._ops import HigherOrderOperator

from netsuke.core.errors import NetsukeError
from netsuke.nets.graph import where

# The operation → how many of its arguments come before the sub-graph and what it is fed.
REGIONS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}


def inline_regions(graph: fx.Graph, root: fx.GraphModule) -> None:
    """Inline ``no_grad`` and disabled autocast regions (Llama's rotary embedding has both).

    Outside training they compute the same; within, what a ``no_grad`` region reads (positions,
    masks) carries no gradient anyway. Raises NetsukeError for other regions: control flow.
    """
    while regions := [n for n in graph.nodes if isinstance(n.target, HigherOrderOperator)]:
        for node in regions:
            name = node.target._name
            if name not in REGIONS or (name == "wrap_with_autocast" and node.args[2]):
                raise NetsukeError(f"{where(node)}: {name} cannot be captured; take it out")
            _inline(graph, root, node, REGIONS[name])


def _inline(graph: fx.Graph, root: fx.GraphModule, node: fx.Node, skip: int) -> None:
    body, *fed = node.args[skip:]
    assert isinstance(body, fx.Node)
    inner: Any = root.get_submodule(str(body.target))
    places = [n for n in inner.graph.nodes if n.op == "placeholder"]
    env: dict[fx.Node, Any] = dict(zip(places, fed, strict=True))
    with graph.inserting_before(node):
        for each in inner.graph.nodes:
            if each.op == "output":
                result = fx.map_arg(each.args[0], env.__getitem__)
            elif each.op != "placeholder":
                env[each] = graph.node_copy(each, env.__getitem__)
                if each.op == "get_attr":
                    env[each].target = f"{body.target}.{each.target}"
    for user in list(node.users):
        assert user.target is operator.getitem
        user.replace_all_uses_with(result[user.args[1]])
        graph.erase_node(user)
    graph.erase_node(node)
    if not body.users:
        graph.erase_node(body)
