"""Where a network can be cut in two: places that a single tensor crosses.

Tokens, sizes and what is made of them alone (masks) are not counted: they can be had on either side.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.fx import Graph, Node

from netsuke.core.model import Model
from netsuke.nets.graph import module_name, op, watch
from netsuke.nets.macs import macs

IN_CHANNELS = frozenset({"conv1d", "conv2d", "conv3d", "batch_norm", "group_norm", "instance_norm"})
IN_FEATURES = frozenset({"linear", "layer_norm", "rms_norm", "embedding", "lstm", "gru"})


@dataclass(frozen=True)
class Cut:
    """A place behind one node. layer: the user's name of it. shape: of what crosses, a batch of two. share: of the
    network's multiply-accumulates, what is done before. channels: the dimension of the channels, None where
    it is not known."""

    node: str
    layer: str
    shape: tuple[int, ...]
    share: float
    channels: int | None


def cuts(model: Model) -> tuple[Cut, ...]:
    """Every such place, in order; of several without a multiply-accumulate between them the last."""
    graph: Graph = model.network.graph
    known: dict[str, tuple[int, ...]] = {}
    floats: set[str] = set()

    def see(node: Node, tensor: Tensor) -> None:
        known[node.name] = tuple(tensor.shape)
        if tensor.is_floating_point():
            floats.add(node.name)

    watch(model.network, model.example, see)
    done, total = 0, sum(macs(n, known, known[n.name]) for n in graph.nodes if n.name in known)
    alone, found, layer = _crossed_alone(graph, floats), {}, ""
    for node in graph.nodes:
        if node.op != "call_function" or node.name not in known:
            continue
        done += macs(node, known, known[node.name])
        layer = module_name(node) or layer or node.name
        if node in alone and 0 < done < total:
            found[done] = Cut(
                node.name, layer, known[node.name], done / total, _channels(node, known)
            )
    return tuple(found.values())


def _crossed_alone(graph: Graph, floats: set[str]) -> set[Node]:
    """The nodes behind which no other value is needed any more."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    last = {
        node: max((order[user] for user in node.users if op(user) != "sym_size"), default=-1)
        for node in graph.nodes
        if node.op in ("placeholder", "call_function") and node.name in floats
    }
    alone, needed = set(), -1
    for node in (n for n in graph.nodes if n in last):
        if node.op == "call_function" and needed <= order[node] < last[node]:
            alone.add(node)
        needed = max(needed, last[node])
    return alone


def _channels(node: Node, known: dict[str, tuple[int, ...]]) -> int | None:
    """By the layer that made it: behind a convolution the second, behind a linear layer the last dimension."""
    dims = len(known[node.name])
    if dims in (2, 4):
        return 1
    at: Node | None = node
    while at is not None and op(at) not in IN_CHANNELS | IN_FEATURES:
        before = [
            n
            for n in at.all_input_nodes
            if n.op == "call_function" and len(known.get(n.name, ())) == dims
        ]
        at = before[0] if before else None
    if at is None:
        return None
    return 1 if op(at) in IN_CHANNELS else dims - 1
