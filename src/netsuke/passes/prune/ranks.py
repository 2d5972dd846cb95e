"""Which layers split, how and to what rank: the least damage for what is gained."""

import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import prod

from torch.fx import GraphModule, Node

from netsuke.core.goal import Goal
from netsuke.core.layer import Layer
from netsuke.core.model import Model
from netsuke.nets.costs import layers as layers_of
from netsuke.nets.graph import op, shapes
from netsuke.nets.lowrank.forms import Form, forms, full_rank
from netsuke.nets.lowrank.forms import shapes as factor_shapes
from netsuke.nets.lowrank.split import divisible
from netsuke.nets.moments import weight_of
from netsuke.passes.prune.prices import Cost, seconds_of

LEVELS = 8
"""A layer's ranks go down in about this many steps."""


@dataclass(frozen=True)
class Option:
    """One way to split a layer. saves: of the network's cost, in its unit."""

    layer: str
    form: Form
    rank: int
    saves: float


@dataclass(frozen=True)
class Step:
    """An option with its damage, on the edge of what a layer has to offer."""

    option: Option
    damage: float


class Market:
    """What the layers of a model offer, and at what price.

    whole: the network's cost. options: by layer, those that save anything.
    """

    def __init__(self, model: Model, goal: Goal, cost: Cost, wanted: Iterable[Form]) -> None:
        self._device, self._kernels, self._cost = goal.device, goal.kernels, cost
        self.nodes: dict[str, Node] = divisible(model.network)
        self._known = shapes(model.network, tuple(x[:1] for x in model.example))
        self.whole = sum(self._price(layer) for layer in layers_of(model))
        self.options: dict[str, list[Option]] = {}
        allowed = frozenset(wanted)
        for name, node in self.nodes.items():
            shape = tuple(weight_of(model.network, node).shape)
            found = [
                option
                for form in forms(shape)
                if form in allowed
                for option in self._of_form(name, node, form, shape)
            ]
            if found:
                self.options[name] = found

    def shape_of(self, network: GraphModule, layer: str) -> tuple[tuple[int, ...], ...]:
        """What makes two layers cost the same: the weight's shape, and the picture's."""
        node = self.nodes[layer]
        return tuple(weight_of(network, node).shape), self._known[node.name]

    def _of_form(self, name: str, node: Node, form: Form, shape: tuple[int, ...]) -> list[Option]:
        now = self._price(self._layer(node, shape, self._known[node.name]))
        made = []
        for rank in self._ranks(full_rank(form, shape)):
            saves = now - sum(map(self._price, self._halves(node, form, shape, rank)))
            if saves > 0:
                made.append(Option(name, form, rank, saves))
        return made

    def _ranks(self, full: int) -> list[int]:
        """Multiples of what the kernels work on at a time, and half of it where a layer is narrow."""
        kernel = self._device.kernel_width
        step = max(kernel, round(full / LEVELS / kernel) * kernel)
        narrow = {max(1, kernel // 4), max(1, kernel // 2)}
        return sorted(r for r in {*narrow, *range(step, full, step)} if r < full)

    def _halves(
        self, node: Node, form: Form, shape: tuple[int, ...], rank: int
    ) -> tuple[Layer, Layer]:
        first, second = factor_shapes(form, shape, rank)
        out = self._known[node.name]
        given = self._known[node.all_input_nodes[0].name]
        if op(node) == "linear":
            between: tuple[int, ...] = (*out[:-1], rank)
        elif form == "channel":
            between = (out[0], rank, *out[2:])
        else:  # the first keeps the width of what comes in
            between = (out[0], rank, out[2], given[3])
        return (
            self._layer(node, first, between, given),
            self._layer(node, second, out, between),
        )

    def _layer(
        self,
        node: Node,
        weight: tuple[int, ...],
        out: tuple[int, ...],
        given: tuple[int, ...] | None = None,
    ) -> Layer:
        given = self._known[node.all_input_nodes[0].name] if given is None else given
        return Layer(
            name=node.name, op=op(node), macs=prod(out) * prod(weight[1:]), weights=prod(weight),
            inputs=prod(given), outputs=prod(out), channels=(weight[1], weight[0]),
        )  # fmt: skip

    def _price(self, layer: Layer) -> float:
        if self._cost == "seconds":
            return seconds_of(layer, self._device, self._kernels)
        each = {"macs": layer.macs, "parameters": layer.weights}
        return float(each.get(self._cost, layer.weights * layer.weight_bits / 8))


def edge(options: Mapping[Option, float]) -> list[Step]:
    """Of one layer's options those worth taking, the one that saves least first: what saves more does
    more damage for each unit of it (the lower convex hull from nothing at all)."""
    hull = [Step(Option("", "channel", 0, 0.0), 0.0)]
    for option, damage in sorted(options.items(), key=lambda o: (o[0].saves, -o[1])):
        new = Step(option, damage)
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], new):
            hull.pop()
        if option.saves > hull[-1].option.saves:
            hull.append(new)
    return hull[1:]


def cheapest(damages: Mapping[str, Mapping[Option, float]], saving: float) -> dict[str, Option]:
    """For each layer that splits its option, so that together they save at least this much, or all that
    can be saved: always the step with the least damage for what it gains."""
    edges = {layer: edge(options) for layer, options in damages.items()}
    start = Step(Option("", "channel", 0, 0.0), 0.0)
    steps = [
        (_slope(before, after), layer, i)
        for layer, hull in edges.items()
        for i, (before, after) in enumerate(itertools.pairwise((start, *hull)))
    ]
    taken: dict[str, Option] = {}
    saved = 0.0
    for _, layer, i in sorted(steps):
        if saved >= saving:
            break
        option = edges[layer][i].option
        saved += option.saves - (taken[layer].saves if layer in taken else 0.0)
        taken[layer] = option
    return taken


def most(options: Mapping[str, Collection[Option]]) -> float:
    """All that can be saved."""
    return sum(max(o.saves for o in found) for found in options.values())


def _slope(before: Step, after: Step) -> float:
    gain = after.option.saves - before.option.saves
    return (after.damage - before.damage) / max(gain, 1e-12)
