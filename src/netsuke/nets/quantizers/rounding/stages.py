"""A network and what it was, replayed layer by layer, each layer shown rows to be solved on."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.nets.evaluation import in_eval_mode
from netsuke.nets.graph import tensor_of
from netsuke.nets.quantizers.rounding.replay import Replay
from netsuke.nets.quantizers.rounding.rows import groups_of, positions, rows
from netsuke.nets.release import release

KEPT = 2**26
"""Bytes of values between two positions that may be kept beside a small model."""
ROWS = 2**25
"""Bytes of rows kept for the layers solved at once."""
MOST_ROWS = 2**15

Solve = Callable[[Node, Tensor, Tensor], None]
"""Is given a layer, rows of what it reads in the network as it is by now (groups, rows, inputs), and rows
of what it gave at the start (groups, rows, outputs); may replace the layer's parameters."""


def layer_by_layer(
    network: GraphModule, layers: Sequence[Node], batches: Iterable[Sequence[Tensor]], solve: Solve
) -> int:
    """Solve the layers in the order of the graph; gives the number of samples that were used.

    layers: convolutions and linear layers. batches: of inputs, iterable again. Memory: the values
    between two places for as many samples as fit 64 MB, and 32 MB of rows; less for a large model,
    whose copies take memory too, but a third of its size at least.
    """
    stages = list(_stages(network, layers))
    size = sum(p.nbytes for p in network.parameters())
    with torch.no_grad(), in_eval_mode(network):
        replay = Replay(network, batches, [s[0] for s in stages], _share(KEPT, size))
        for stage in stages:
            replay.advance(stage[0])
            seen = _Rows(stage, network, replay.samples, _share(ROWS, size))
            replay.show(stage, seen.add)
            for layer in stage:
                release()
                solve(layer, *seen.of(layer))
            release()
    return replay.samples


def _stages(network: GraphModule, layers: Sequence[Node]) -> Iterator[list[Node]]:
    """Runs of layers none of which reads what another of them gave."""
    stage: list[Node] = []
    behind: set[Node] = set()
    for node in network.graph.nodes:
        follows = any(n in behind for n in node.all_input_nodes)
        if node in layers:
            if follows:
                yield stage
                stage, behind = [], set()
            stage.append(node)
        if node in layers or follows:
            behind.add(node)
    if stage:
        yield stage


def _share(most: int, size: int) -> int:
    """Bytes to keep beside a model of this size."""
    return max(most - size // 3, size // 3)


class _Rows:
    """Rows of some layers, drawn at random from every sample, as many as memory allows."""

    def __init__(
        self, layers: Sequence[Node], network: GraphModule, samples: int, limit: int
    ) -> None:
        self._network, self._samples, self._share = network, samples, limit // len(layers)
        self._seen: dict[Node, list[tuple[Tensor, Tensor]]] = {layer: [] for layer in layers}
        self._draw = torch.Generator().manual_seed(0)

    def add(self, layer: Node, given: Tensor, output: Tensor) -> None:
        weight = _weight(self._network, layer)
        there = positions(layer, output)
        width = 4 * (weight[0].numel() * groups_of(layer) + len(weight))
        most = max(min(self._share // width, MOST_ROWS), 2 * weight[0].numel())
        wanted = min(there, -(-most // self._samples))
        at = torch.randperm(there, generator=self._draw)[:wanted]
        self._seen[layer].append(rows(layer, weight.shape[2:], given, output, at))

    def of(self, layer: Node) -> tuple[Tensor, Tensor]:
        x, y = zip(*self._seen.pop(layer), strict=True)
        return torch.cat(x, 1), torch.cat(y, 1)


def _weight(network: GraphModule, layer: Node) -> Tensor:
    """The layer's weight, past what may quantize it."""
    node = layer.args[1]
    while isinstance(node, Node) and node.op != "get_attr":
        node = node.all_input_nodes[0]
    found = tensor_of(network, node)
    assert found is not None
    return found
