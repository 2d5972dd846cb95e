"""A network run as a part of itself: fewer units of each group, fewer branches, the same weights.

What a supernet is made of (Yu et al., 2019, "Slimmable neural networks"; Cai et al., 2020,
"Once-for-all"): nothing is copied, so that gradients of a part reach the weights they share.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import Graph, GraphModule

from netsuke.nets.channels.branches import Branch, shorten
from netsuke.nets.channels.groups import Groups, Keep
from netsuke.nets.channels.rewrites import Edit, rewrite
from netsuke.nets.channels.surgery import left
from netsuke.nets.evaluation import BatchStatistics
from netsuke.nets.graph import aliases, tensor_of, trim


@dataclass(frozen=True, eq=False)
class Part:
    """Some of a network. graph: what it computes. kept: by tensor, which indices of which dimension."""

    graph: Graph
    kept: Mapping[str, tuple[tuple[int, Tensor], ...]]


def part(network: GraphModule, known: Groups, keep: Keep, leaving: Iterable[Branch] = ()) -> Part:
    """The part without what ``keep`` leaves out and without these branches.

    Raises NetsukeError where a layer would be left without channels.
    """
    stays = known.stays(keep)
    graph = copy.deepcopy(network.graph)
    for node in graph.nodes:
        if node.op == "call_function" and node.name in known.axes:
            rewrite(Edit(node, known.axes, stays))
    shorten(graph, leaving)
    trim(graph)
    kept: dict[str, tuple[tuple[int, Tensor], ...]] = {}
    for name, dim, indices in left(known, stays):
        tensor = tensor_of(network, name)
        assert tensor is not None, name  # a member's name comes from this very network
        for each in aliases(network, tensor):
            kept[each] = (*kept.get(each, ()), (dim, indices))
    return Part(graph, kept)


def become(network: GraphModule, part: Part | None) -> None:
    """From now on calling the network computes the part; None: the whole.

    A part's BatchNorms normalise by the batch at hand, in training and out of it: the running statistics
    are the whole network's.
    """
    network.__dict__.pop("forward", None)
    if part is not None:
        network.forward = _Sliced(network, part).run


class _Sliced(BatchStatistics):
    def __init__(self, network: GraphModule, part: Part) -> None:
        super().__init__(network, part.graph)
        self._kept = part.kept

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        whole = super().get_attr(target, args, kwargs)
        for dim, indices in self._kept.get(target, ()):
            whole = whole.index_select(dim, indices)
        return whole
