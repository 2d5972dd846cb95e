"""In-place operations (``relu_``, ``+=``) written as what they compute, so that no pass meets both."""

from typing import Any

import torch
from torch import fx

from netsuke.nets.graph import op


def without_inplace(graph: fx.Graph) -> None:
    """Replace each in-place operation whose input nobody else has a view of.

    What reads the changed tensor later reads the result instead. Writes into views (``x[:, 0] = 1``)
    and into buffers stay as they are: there the writing is the point.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        target = _functional(node.target) if op(node).endswith("_") else None
        if target is None or not isinstance(changed := node.args[0], fx.Node):
            continue
        if changed.op == "get_attr" or is_view(changed) or any(map(is_view, changed.users)):
            continue
        node.target = target
        later = {user for user in changed.users if order[user] > order[node]}
        changed.replace_all_uses_with(node, delete_user_cb=later.__contains__)


def is_view(node: fx.Node) -> bool:
    """Whether its output shares memory with an input: ``view``, ``slice``, ``chunk``, …"""
    schema = getattr(node.target, "_schema", None)
    returned = [r.alias_info for r in schema.returns] if schema else []
    return any(alias is not None and not alias.is_write for alias in returned)


def _functional(target: Any) -> Any:
    packet = getattr(torch.ops.aten, target._schema.name.removeprefix("aten::")[:-1], None)
    overload = target._overloadname
    return getattr(packet, overload) if packet and overload in packet.overloads() else None
