"""The float and the quantized network side by side, advanced through the graph over all samples.

Only values that cross the present position are kept. Where they would take more memory than allowed, the
position stays behind and the stretch from there on is run again.
"""

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from netsuke.nets.graph import tensor_of
from netsuke.nets.quantizers.roles import op

Values = dict[Node, Any]
Inputs = Sequence[Tensor]
See = Callable[[Node, Tensor, Tensor], None]
"""Is shown a layer, what it reads in the quantized network, and what it gives in the float one."""


class Replay:
    """Samples on their way through a quantized network and the float network it was.

    network: calibrated, in eval mode. Its parameters may be replaced as the replay goes on; the float
    network keeps those it had. batches: of inputs, iterated again while the position is at the
    start. stops: where ``advance`` will be called. limit: bytes of values to keep.
    """

    def __init__(
        self,
        network: GraphModule,
        batches: Iterable[Inputs],
        stops: Sequence[Node],
        limit: float,
    ) -> None:
        self._network, self._nodes = network, list(network.graph.nodes)
        self._order = {node: i for i, node in enumerate(self._nodes)}
        self._inputs = [n for n in self._nodes if n.op == "placeholder"]
        found = [n for n in self._nodes if op(n).startswith("netsuke.")]
        self._source = {n: n.all_input_nodes[0] for n in found}
        self._constants = {n for n, source in self._source.items() if source.op == "get_attr"}
        self._constants |= {n for n in self._nodes if n.op == "get_attr"}
        self._floats = {n: t for n in self._nodes if (t := tensor_of(network, n)) is not None}
        self._last = {n: max((self._order[u] for u in self._readers(n)), default=-1)
                      for n in self._nodes}  # fmt: skip
        self._at, self._limit, self._batches = 0, limit, batches
        self._held: list[tuple[Values, Values]] = []
        self._memo: dict[tuple[Node, bool], Any] = {}
        self._sizes = self._measured()
        self.samples = self._fitting(stops)

    def show(self, layers: Sequence[Node], see: See) -> None:
        """Run all samples to the last of the layers."""
        given = {layer: layer.all_input_nodes[0] for layer in layers}
        reads = max(self._order[n] for n in given.values()) + 1
        gives = max(self._order[layer] for layer in layers) + 1
        for quantized, exact in self._states():
            read = self._run(quantized, reads, set(given.values()), is_float=False)
            gave = self._run(exact, gives, set(layers), is_float=True)
            for layer in layers:
                see(layer, read[given[layer]], gave[layer])

    def advance(self, stop: Node) -> None:
        """Move all samples to the place up to ``stop`` with the least to keep, if that fits."""
        best = self._narrowest(self._at, self._order[stop])
        if best == self._at or self._crossing(best) * self.samples > self._limit:
            return
        moved = []
        for state in self._states():
            kept = (self._moved(values, best, bool(i)) for i, values in enumerate(state))
            moved.append(tuple(kept))
        self._held, self._at = moved, best  # type: ignore[assignment]
        for node in [n for n in self._floats if self._last[n] < best]:
            del self._floats[node]

    def _states(self) -> Iterator[tuple[Values, Values]]:
        """(quantized, float) values of each batch at the present position."""
        self._memo.clear()
        if self._at:
            yield from self._held
            return
        left = self.samples
        for batch in self._batches:
            start = {n: x[:left] for n, x in zip(self._inputs, batch, strict=True)}
            yield start, start
            left -= len(batch[0])
            if left <= 0:
                return

    def _run(self, start: Values, end: int, wanted: set[Any], is_float: bool) -> Values:
        """The values of the wanted nodes, run from the present position up to ``end``."""
        values, found = dict(start), {n: start[n] for n in wanted if n in start}
        for i in range(self._at, end):
            node = self._nodes[i]
            if node.op == "call_function" and node not in self._constants:
                values[node] = self._call(node, values, is_float)
                if node in wanted:
                    found[node] = values[node]
            for read in node.all_input_nodes:
                if self._last[read] <= i:
                    values.pop(read, None)
        return found

    def _moved(self, start: Values, end: int, is_float: bool) -> Values:
        return {
            n: _compact(v) for n, v in self._run(start, end, self._alive(end), is_float).items()
        }

    def _call(self, node: Node, values: Values, is_float: bool) -> Any:
        if is_float and node in self._source:
            return self._value(self._source[node], values, is_float)
        args, kwargs = map_arg((node.args, node.kwargs), lambda n: self._value(n, values, is_float))
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def _value(self, node: Node, values: Values, is_float: bool) -> Any:
        if node not in self._constants:
            return values[node]
        if node.op != "get_attr":
            if (node, is_float) not in self._memo:
                self._memo[node, is_float] = self._call(node, values, is_float)
            return self._memo[node, is_float]
        if is_float and node in self._floats:
            return self._floats[node]
        tensor = tensor_of(self._network, node)
        return getattr(self._network, str(node.target)) if tensor is None else tensor

    def _readers(self, node: Node) -> Iterator[Node]:
        """What reads a node, itself or through a constant made of it."""
        for user in node.users:
            if node in self._constants and user in self._constants:
                yield from self._readers(user)
            else:
                yield user

    def _alive(self, position: int) -> set[Node]:
        """Values made before a position and read there or behind."""
        before = {*self._inputs, *self._nodes[:position]}
        return {n for n in before if n not in self._constants and self._last[n] >= position}

    def _crossing(self, position: int) -> float:
        """Bytes a sample to keep at a position, for both networks."""
        return 2 * sum(self._sizes.get(n, 0.0) for n in self._alive(position))

    def _narrowest(self, start: int, end: int) -> int:
        """The last of the positions with the least to keep."""
        return min(range(start, end + 1), key=lambda i: (self._crossing(i), -i))

    def _measured(self) -> dict[Node, float]:
        """Bytes a sample of each value; runs the float network once, on one sample."""
        for batch in self._batches:
            few = [x[:1] for x in batch]
            values = dict(zip(self._inputs, few, strict=True))
            made = self._run(values, len(self._nodes), set(self._nodes), is_float=True)
            return {n: float(_bytes(v)) for n, v in made.items()}
        return {}

    def _fitting(self, stops: Sequence[Node]) -> int:
        """How many samples there are, or as many as let half of the stops fit the limit."""
        count = sum(len(batch[0]) for batch in self._batches)
        places = [self._order[n] for n in stops]
        least = [
            self._crossing(self._narrowest(a, b)) for a, b in itertools.pairwise((0, *places[1:]))
        ]
        if not least:
            return count
        return min(count, max(1, int(self._limit // max(1.0, statistics.median_low(least)))))


def _compact(value: Any) -> Any:
    """A view of a larger tensor as a tensor of its own, so that the larger one can go."""
    if isinstance(value, Tensor) and value.untyped_storage().nbytes() > value.nbytes:
        return value.clone()
    return value


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0
