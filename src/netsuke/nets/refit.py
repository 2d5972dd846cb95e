"""Weights of a cut network fitted anew to what the whole one gave (He et al., 2017).

Layer by layer, in the order they run: each gets the weights that, from what it now reads, give best
what it gave before, by least squares on calibration data. No labels, no gradients. The whole and the
cut network advance side by side, and only values that cross the present place are held.
"""

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from netsuke.nets.data import Inputs
from netsuke.nets.evaluation import evaluating
from netsuke.nets.graph import argument, clone, op, set_tensor, shapes, tensor_of
from netsuke.nets.moments import inputs_of, places, weight_of, weighted
from netsuke.nets.quantizers.rounding.rows import groups_of, rows
from netsuke.nets.sparse.solve import descended

LIMIT = 2**28
"""Bytes of values held of both networks together."""
WIDEST = 8192
"""A layer that sums over more inputs keeps its weights: its equations would take too much memory."""
DAMP = 1e-3
"""How strongly the present weights are held on to, against the mean power of the inputs."""


def refit(
    network: GraphModule,
    whole: GraphModule,
    kept: Mapping[str, Tensor],
    batches: Iterable[Inputs],
    seed: int = 0,
) -> tuple[GraphModule, tuple[str, ...]]:
    """(A copy whose layers are fitted to those of ``whole``, names of the nodes that were.)

    network: cut out of ``whole``, its nodes named the same. kept: for a node of ``whole`` the output
    channels that are left of it; all where it is not named. batches: iterated twice; fewer samples
    are used where values of all would not fit ``LIMIT``. A weight that several layers read stays.
    """
    fitted = clone(network)
    before = {n.name: n for n in whole.graph.nodes}
    layers = [n for nodes in weighted(fitted).values() if len(nodes) == 1 for n in nodes]
    chosen = {n for n in layers if n.name in before and inputs_of(fitted, n) <= WIDEST}
    draw, done = torch.Generator().manual_seed(seed), []
    with evaluating(fitted), evaluating(whole):
        given = _samples(fitted, whole, batches)
        mine, theirs = _Walk(fitted, given), _Walk(whole, given)
        for layer in fitted.graph.nodes:
            if layer in chosen:
                twin = before[layer.name]
                if _fit(layer, mine, theirs.values(twin), kept.get(layer.name), draw):
                    done.append(layer.name)
    # What is made without gradients can never have any; a copy made out here can.
    return clone(fitted), tuple(done)


class _Walk:
    """All samples on their way through one network."""

    def __init__(self, network: GraphModule, given: list[Inputs]) -> None:
        self.network, self._nodes, self._at = network, list(network.graph.nodes), 0
        self._order = {n: i for i, n in enumerate(self._nodes)}
        self._last = {n: max((self._order[u] for u in n.users), default=-1) for n in self._nodes}
        inputs = [n for n in self._nodes if n.op == "placeholder"]
        self._held: list[dict[Node, Any]] = [dict(zip(inputs, x, strict=True)) for x in given]

    def values(self, node: Node) -> list[Any]:
        """What the node gives, a value a batch. Nodes are asked for in the order they run."""
        found = []
        end = self._order[node] + 1
        for values in self._held:
            self._run(values, end)
            found.append(values[node])
        self._at = max(self._at, end)
        return found

    def _run(self, values: dict[Node, Any], end: int) -> None:
        for i in range(self._at, end):
            node = self._nodes[i]
            if node.op == "call_function":
                args, kwargs = map_arg((node.args, node.kwargs), lambda n: self._value(n, values))
                values[node] = node.target(*args, **kwargs)
            for read in node.all_input_nodes:
                if self._last[read] < i:
                    values.pop(read, None)
        for read in [n for n in values if 0 <= self._last[n] < end - 1]:
            del values[read]

    def _value(self, node: Node, values: dict[Node, Any]) -> Any:
        if node.op != "get_attr":
            return values[node]
        tensor = tensor_of(self.network, node)
        return getattr(self.network, str(node.target)) if tensor is None else tensor


def _fit(
    layer: Node, mine: _Walk, wanted: list[Tensor], kept: Tensor | None, draw: torch.Generator
) -> bool:
    """Put the layer's best weights in place; False where it reads and gives what it did before."""
    network, weight = mine.network, weight_of(mine.network, layer)
    reads = mine.values(layer.all_input_nodes[0])
    groups, inputs = groups_of(layer), inputs_of(network, layer)
    gram = torch.zeros(groups, inputs + 1, inputs + 1, dtype=torch.float64)
    cross = torch.zeros(groups, inputs + 1, len(weight) // groups, dtype=torch.float64)
    for x, y in zip(reads, wanted, strict=True):
        channel = y.ndim - 1 if op(layer) == "linear" else 1
        target = y if kept is None else y.index_select(channel, kept)
        a, b = rows(layer, weight.shape[2:], x, target, places(layer, target, draw))
        a = torch.cat([a, torch.ones_like(a[..., :1])], 2)
        gram += (a.mT @ a).double()
        cross += (a.mT @ b).double()
    return _solve(network, layer, gram, cross)


def _solve(network: GraphModule, layer: Node, gram: Tensor, cross: Tensor) -> bool:
    """Ridge towards the present weights; the intercept goes to the bias or the norm behind."""
    weight = weight_of(network, layer)
    groups, inputs = gram.shape[0], gram.shape[1] - 1
    offset = _offset(network, layer)
    if offset is None:  # nothing can hold an intercept
        gram, cross = gram[:, :-1, :-1], cross[:, :-1]
    now = weight.double().reshape(groups, -1, inputs).mT
    if offset is not None:
        now = torch.cat([now, offset[1].double().reshape(groups, 1, -1)], 1)
    damp = DAMP * gram.diagonal(dim1=1, dim2=2)[:, :inputs].mean(1) + 1e-12
    ridge = damp[:, None, None] * torch.eye(gram.shape[1], dtype=gram.dtype)
    best = _kept_zero(gram + ridge, cross + ridge @ now, now, weight)
    if not bool(torch.isfinite(best).all()):
        return False
    made = best[:, :inputs].mT.reshape(weight.shape)
    set_tensor(network, str(argument(layer, "weight").target), made.to(weight.dtype))
    if offset is not None:
        name, before, sign = offset
        change = best[:, -1].reshape(-1) - before.double()
        old = tensor_of(network, name)
        assert old is not None
        set_tensor(network, name, (old.detach().double() + sign * change).to(old.dtype))
    return True


def _kept_zero(gram: Tensor, cross: Tensor, now: Tensor, weight: Tensor) -> Tensor:
    """The solution of ``gram · w = cross``; what was pruned of the weight stays zero in it."""
    if bool(weight.all()) or not bool(weight.any()):
        return torch.linalg.solve(gram, cross)
    free = now != 0
    free[:, weight[0].numel() :] = True  # the intercept
    return descended(now.mT, cross.mT, gram, free.mT.double()).mT


def _offset(network: GraphModule, layer: Node) -> tuple[str, Tensor, int] | None:
    """Where an intercept can go: (tensor, the present intercept, sign): the layer's bias, or the running
    mean of the BatchNorm that alone reads it."""
    bias = argument(layer, "bias")
    if isinstance(bias, Node):
        tensor = tensor_of(network, bias)
        return None if tensor is None else (str(bias.target), tensor.detach(), 1)
    users = list(layer.users)
    if len(users) == 1 and op(users[0]) == "batch_norm" and users[0].args[0] is layer:
        mean = argument(users[0], "running_mean")
        tensor = tensor_of(network, mean) if isinstance(mean, Node) else None
        if tensor is not None:
            return str(mean.target), torch.zeros_like(tensor), -1
    return None


def _samples(network: GraphModule, whole: GraphModule, batches: Iterable[Inputs]) -> list[Inputs]:
    """As many samples as let all that is alive at once in both networks fit."""
    found: list[Inputs] = []
    left = None
    for batch in batches:
        if left is None:
            few = tuple(x[:1] for x in batch)
            left = max(8, int(LIMIT / max(1, sum(_peak(n, few) for n in (network, whole)))))
        found.append(tuple(x[:left] for x in batch))
        left -= len(found[-1][0])
        if left <= 0:
            break
    return found


def _peak(network: GraphModule, example: Inputs) -> int:
    """Bytes of the values alive at once, for these samples; the inputs are alive throughout."""
    sizes = {name: 4 * prod(shape) for name, shape in shapes(network, example).items()}
    nodes = list(network.graph.nodes)
    order = {n: i for i, n in enumerate(nodes)}
    ends: dict[int, list[Node]] = {}
    for n in nodes:
        ends.setdefault(max((order[u] for u in n.users), default=order[n]), []).append(n)
    now = most = 0
    for i, node in enumerate(nodes):
        now += sizes.get(node.name, 0) if node.op == "call_function" else 0
        most = max(most, now)
        now -= sum(sizes.get(n.name, 0) for n in ends.get(i, ()) if n.op == "call_function")
    return most + sum(4 * prod(x.shape) for x in example)
