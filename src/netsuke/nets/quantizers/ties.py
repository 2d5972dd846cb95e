"""Weights that share a value and keep sharing it while they train: codebooks whose levels are learned."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.nets import graph
from netsuke.nets.quantizers import lookup
from netsuke.nets.quantizers.lookup import Levels, TableQuantizer
from netsuke.nets.quantizers.quantizer import HOME


@dataclass(frozen=True)
class Tie:
    """One weight. weight: the parameter's name. codes: the level of each value. zero: the level that
    is exactly zero, and stays so; −1 for none. count: of levels."""

    weight: str
    codes: Tensor
    zero: int
    count: int

    def means(self, values: Tensor) -> Tensor:
        """The mean of the values of each level, float64; 0 where a level has none."""
        flat = values.detach().flatten().double()
        sums = torch.bincount(self.codes, flat, self.count)
        means = sums / torch.bincount(self.codes, minlength=self.count).clamp(min=1)
        if self.zero >= 0:
            means[self.zero] = 0
        return means

    def level(self, values: Tensor) -> None:
        """Give the values of each level their mean (in place)."""
        values.copy_(self.means(values)[self.codes].view(values.shape))


class Ties:
    """The ties of a network with codebooks for whole weights (Han et al., 2016)."""

    def __init__(self, coded: GraphModule) -> None:
        self._ties = {t.key: _tie(coded, t) for t in _codebooks(coded)}

    def __len__(self) -> int:
        return len(self._ties)

    def loosened(self, coded: GraphModule) -> GraphModule:
        """A copy whose weights stand on their levels, without the codebooks: it trains like any."""
        network = graph.clone(coded)
        for t in list(_codebooks(network)):
            made = lookup.read(network, t.key)
            tie = self._ties[t.key]
            weight = graph.tensor_of(network, t.source)
            assert weight is not None
            values = (made.levels * made.scale)[tie.codes].view(weight.shape)
            graph.set_tensor(network, tie.weight, values.to(weight.dtype))
            t.node.replace_all_uses_with(t.source)
            network.graph.erase_node(t.node)
        return graph.rebuilt(network)

    @torch.no_grad()
    def gather(self, network: GraphModule, progress: float) -> None:
        """Give every weight of a level the level's mean gradient, which is the sum of them as a step of
        gradient descent takes it along the direction in which they all move."""
        for tie in self._ties.values():
            weight = network.get_parameter(tie.weight)
            if weight.grad is not None:
                tie.level(weight.grad)

    @torch.no_grad()
    def meet(self, network: GraphModule, progress: float = 1.0) -> None:
        """Take away by how much rounding let the weights of a level differ (in place)."""
        for tie in self._ties.values():
            tie.level(network.get_parameter(tie.weight))

    @torch.no_grad()
    def coded(self, trained: GraphModule, coded: GraphModule) -> GraphModule:
        """A copy of the coded network with the levels, and all else, that its loosened copy learned."""
        self.meet(trained)
        network = graph.clone(coded)
        for name, _ in list(graph.tensors(network)):
            learned = graph.tensor_of(trained, name)
            if learned is not None and not name.startswith(f"{HOME}."):
                graph.set_tensor(network, name, learned.detach().clone())
        for key, tie in self._ties.items():
            learned = graph.tensor_of(trained, tie.weight)
            assert learned is not None
            used = torch.bincount(tie.codes, minlength=tie.count) > 0
            means = tie.means(learned)[used].float()
            old = lookup.read(network, key)
            spare = means.amax().expand(tie.count - len(means))
            levels = torch.cat((means, spare)).sort().values
            lookup.write(network, key, Levels(levels, torch.ones_like(old.scale)))
        return network


def _codebooks(network: GraphModule) -> Iterator[TableQuantizer]:
    """Look-ups of plain parameters whose one table has one scale."""
    for t in lookup.lookups(network):
        is_plain = t.axis < 0 and t.source.op == "get_attr"
        if is_plain and lookup.scheme_of(network, t).table == "kmeans":
            yield t


def _tie(network: GraphModule, t: TableQuantizer) -> Tie:
    made = lookup.read(network, t.key)
    weight = graph.tensor_of(network, t.source)
    assert weight is not None
    codes = lookup.nearest(weight.detach() / made.scale, made.levels).flatten()
    zeros = (made.levels == 0).nonzero().flatten().tolist()
    return Tie(str(t.source.target), codes, zeros[0] if zeros else -1, len(made.levels))
