"""What layers read and give on calibration data, a few rows at a time, and its second moments."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from netsuke.nets.data import Inputs
from netsuke.nets.evaluation import evaluating
from netsuke.nets.graph import argument, op, tensor_of
from netsuke.nets.quantizers.roles import WEIGHTED
from netsuke.nets.quantizers.rounding.rows import groups_of, positions, rows

POSITIONS = 64
"""Places of a picture or sequence looked at in every sample: neighbours say much the same."""
LIMIT = 2**28
"""Bytes of second moments held at once."""

See = Callable[[Node, Tensor, Tensor], object]
"""Is shown a layer, rows of what it reads (groups, rows, inputs), rows of what it gives (groups, rows, outputs)."""


def weighted(network: GraphModule) -> dict[str, list[Node]]:
    """The convolutions and linear layers that read a parameter as their weight, by its name."""
    found: dict[str, list[Node]] = {}
    for node in network.graph.nodes:
        weight = argument(node, "weight") if op(node) in WEIGHTED else None
        if isinstance(weight, Node) and tensor_of(network, weight) is not None:
            found.setdefault(str(weight.target), []).append(node)
    return found


def inputs_of(network: GraphModule, layer: Node) -> int:
    """How many values one output of the layer sums over."""
    return int(weight_of(network, layer)[0].numel())


def weight_of(network: GraphModule, layer: Node) -> Tensor:
    weight = tensor_of(network, argument(layer, "weight"))
    assert weight is not None, layer  # ``weighted`` names no other layers
    return weight.detach()


def show(
    network: GraphModule, layers: Iterable[Node], batches: Iterable[Inputs], see: See, seed: int = 0
) -> None:
    """Run the batches in eval mode and show rows of every layer: at most ``POSITIONS`` a sample."""
    runner = _Shown(network, set(layers), see, seed)
    with evaluating(network):
        for batch in batches:
            runner.run(*batch)


def moments(
    network: GraphModule,
    layers: Sequence[Node],
    batches: Iterable[Inputs],
    seed: int = 0,
    constant: bool = False,
) -> Iterator[tuple[Node, Tensor]]:
    """For each layer the mean of x·xᵀ over its rows: (groups, inputs, inputs), float64.

    constant: one input more, always 1, so that the last row holds the means. The batches are run anew for as many layers as fit ``LIMIT`` bytes, so give what can be iterated
    again.
    """
    for few in _fitting(network, layers):
        sums: dict[Node, Tensor] = {}
        counts = dict.fromkeys(few, 0)

        def add(node: Node, x: Tensor, _: Tensor, sums: Any = sums, counts: Any = counts) -> None:
            x = torch.cat([x, torch.ones_like(x[..., :1])], 2) if constant else x
            gram = (x.mT @ x).double()
            sums[node] = sums[node].add_(gram) if node in sums else gram
            counts[node] += x.shape[1]

        show(network, few, batches, add, seed)
        for node in few:
            yield node, sums.pop(node) / counts[node]


def _fitting(network: GraphModule, layers: Sequence[Node]) -> Iterator[list[Node]]:
    """The layers in order, as many at once as fit; one at least."""
    few: list[Node] = []
    held = 0
    for layer in layers:
        size = 8 * groups_of(layer) * inputs_of(network, layer) ** 2
        if few and held + size > LIMIT:
            yield few
            few, held = [], 0
        few.append(layer)
        held += size
    if few:
        yield few


class _Shown(Interpreter):
    def __init__(self, network: GraphModule, layers: set[Node], see: See, seed: int) -> None:
        super().__init__(network)
        self._layers, self._see, self._network = layers, see, network
        self._draw = torch.Generator().manual_seed(seed)

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n in self._layers:
            kernel = weight_of(self._network, n).shape[2:]
            at = places(n, result, self._draw)
            self._see(n, *rows(n, kernel, self.env[n.all_input_nodes[0]], result, at))
        return result


def places(layer: Node, output: Tensor, draw: torch.Generator) -> Tensor:
    """Some positions of the layer's output, in order."""
    count = positions(layer, output)
    if count <= POSITIONS:
        return torch.arange(count)
    return torch.randperm(count, generator=draw)[:POSITIONS].sort().values
