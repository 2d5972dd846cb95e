"""What a network would cost with some of its parts gone, without cutting it."""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import nn
from torch.fx import Graph, GraphModule, Node

from netsuke.core.device import Device
from netsuke.core.goal import Kernels
from netsuke.core.layer import Layer
from netsuke.core.model import Model
from netsuke.core.roofline import layer_seconds
from netsuke.nets.channels.branches import Branch, shorten
from netsuke.nets.channels.groups import Groups, Keep
from netsuke.nets.channels.labels import Axes
from netsuke.nets.costs import code_bits, peak
from netsuke.nets.graph import argument, op, tensor_of, trim
from netsuke.nets.macs import macs

Cost = Literal["seconds", "macs", "parameters", "bytes", "activations"]
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Prices:
    """Prices of a model's states: seconds on the device, MACs, parameter elements, the bytes that the
    weights will take in the exported file, or the activations that are in memory at once, at most.

    kernels: the device's table of single kernels; what it does not have is estimated.
    """

    model: Model
    known: Groups
    device: Device
    cost: Cost
    kernels: Kernels | None = None

    def __call__(self, keep: Keep, leaving: Iterable[Branch]) -> float:
        leaving = frozenset(leaving)
        gone = {name for b in leaving for name in (*b.nodes, b.add)}
        stays = self.known.stays(keep)
        shapes = dict(self._whole)
        for name, axes in self._changing.items():
            shapes[name] = tuple(int(stays[units].sum()) for units in axes)
        if self.cost == "activations":
            return peak(self._graph(leaving), shapes)
        return sum(
            self._node(node, shapes)
            for node in self.model.network.graph.nodes
            if node.name not in gone and node.name in shapes
        )

    def _graph(self, leaving: frozenset[Branch]) -> Graph:
        """The network's without these branches."""
        if leaving not in self._graphs:
            graph = copy.deepcopy(self.model.network.graph)
            shorten(graph, leaving)
            trim(graph)
            self._graphs[leaving] = graph
        return self._graphs[leaving]

    @cached_property
    def _graphs(self) -> dict[frozenset[Branch], Graph]:
        """Those that were asked for."""
        return {}

    @cached_property
    def _whole(self) -> dict[str, Shape]:
        """Sizes of every tensor; () for what is none or several."""
        axes = self.known.axes.items()
        return {n: tuple(map(len, a)) if isinstance(a, tuple) else () for n, a in axes}

    @cached_property
    def _changing(self) -> dict[str, Axes]:
        """The tensors that something can leave."""
        axes = self.known.axes.items()
        return {n: a for n, a in axes if isinstance(a, tuple) and any((u >= 0).any() for u in a)}

    def _node(self, node: Node, shapes: dict[str, Shape]) -> float:
        if self.cost in ("parameters", "bytes"):
            tensor = tensor_of(self.model.network, node)
            if not isinstance(tensor, nn.Parameter):
                return 0
            each = (
                1.0 if self.cost == "parameters" else _bytes_each(self.model.network, node, tensor)
            )
            return math.prod(shapes[node.name]) * each
        if not op(node) or not shapes[node.name] or _joins_the_next(node):
            return 0
        work = macs(node, shapes, shapes[node.name]) / len(self.model.example[0])
        if self.cost == "macs":
            return work
        layer = self._layer(node, shapes, work)
        if layer not in self._seconds:
            self._seconds[layer] = seconds_of(layer, self.device, self.kernels)
        return self._seconds[layer]

    @cached_property
    def _seconds(self) -> dict[Layer, float]:
        """What layers were found to take."""
        return {}

    def _layer(self, node: Node, shapes: dict[str, Shape], work: float) -> Layer:
        """The node as a layer. Batch dimensions are the example's; what has none is a constant."""
        batch = len(self.model.example[0])
        fed = [n for n in node.all_input_nodes if n.name in shapes]
        weights = [n for n in fed if n.op == "get_attr"]
        weight = shapes[weights[0].name] if weights else ()
        groups = int(argument(node, "groups", 1) or 1)
        depthwise = groups > 1 and len(weight) > 1 and weight[1] == 1
        channels = (0, 0)
        if op(node).startswith(("conv", "linear")) and len(weight) > 1:
            groups = weight[0] if depthwise else groups
            channels = (weight[1] * groups, weight[0])
        return Layer(
            name=node.name, op=op(node).removesuffix("_"), macs=round(work),
            inputs=sum(math.prod(shapes[n.name]) for n in fed if n.op != "get_attr") // batch,
            outputs=math.prod(shapes[node.name]) // batch,
            weights=sum(math.prod(shapes[n.name]) for n in weights),
            channels=channels, groups=groups,
        )  # fmt: skip


def _joins_the_next(node: Node) -> bool:
    """Slices one after the other, a dimension each, are one operation of the exported file."""
    users = list(node.users)
    return op(node) == "slice" and len(users) == 1 and op(users[0]) == "slice"


def seconds_of(layer: Layer, device: Device, kernels: Kernels | None) -> float:
    """By the device's table where it has the layer's kernel, else estimated."""
    measured = None if kernels is None else kernels(layer)
    return layer_seconds(layer, device) if measured is None else measured


def _bytes_each(network: GraphModule, node: Node, tensor: nn.Parameter) -> float:
    """Bytes of one element in the exported file. A BatchNorm's scale is folded into the layer before;
    of the norm one bias a channel is left."""
    if any(op(n) == "batch_norm" and argument(n, "weight") is node for n in node.users):
        return 0.0
    bits = [code_bits(network, user) for user in node.users]
    return min((b for b in bits if b is not None), default=8 * tensor.element_size()) / 8
