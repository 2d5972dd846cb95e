"""The values inside a network that another network's can be compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional as F

from netsuke.nets.data import Inputs
from netsuke.nets.graph import module_name, op, shapes

CHANNELS_FIRST = frozenset({
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "batch_norm", "group_norm",
    "instance_norm",
})  # fmt: skip
CHANNELS_LAST = frozenset({"linear", "layer_norm", "rms_norm", "embedding"})
WEIGHTED = (CHANNELS_FIRST | CHANNELS_LAST) - {
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm", "embedding",
}  # fmt: skip
KEEP_PLACES = frozenset({
    "relu", "relu6", "leaky_relu", "prelu", "elu", "gelu", "silu", "mish", "hardswish", "hardtanh",
    "hardsigmoid", "sigmoid", "tanh", "clamp", "add", "sub", "mul", "div", "dropout",
    "feature_dropout", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "netsuke.quantize",
})  # fmt: skip
"""Operations after which channels are where they were in the first input."""
Told = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Value:
    """What a node gives. module: the user's module it is in. axis: that of its channels, ``width`` of them.
    size: its other dimensions but the batch; a picture's height and width, the length of a sequence."""

    node: str
    module: str
    axis: int
    width: int
    size: tuple[int, ...]

    def led(self, tensor: Tensor) -> Tensor:
        """With channels next to the batch: (batch, channels, …)."""
        return tensor.movedim(self.axis, 1)


def hidden(network: GraphModule, example: Inputs) -> tuple[Value, ...]:
    """Values on the way to the last layer, in the order they arise.

    Not those whose norm is still to come, for a teacher's norms are folded; and not those whose samples or
    channels operations that move data have put elsewhere.
    """
    known, last = _samples_first(network, example), _last_layer(network)
    found = []
    for node in network.graph.nodes:
        if node is last:
            break
        axis, shape = _axis(node), known.get(node.name, ())
        normed_later = any(op(user) == "batch_norm" for user in node.users)
        if axis is not None and len(shape) > 1 and not normed_later and not _is_output(node):
            found.append(_value(node, axis, shape))
    return tuple(found)


def embedding(network: GraphModule, example: Inputs) -> Value | None:
    """What the last layer reads: all that the network knows of a sample. None where it has no layer."""
    last = _last_layer(network)
    if last is None:
        return None
    read = last.all_input_nodes[0]
    shape = shapes(network, example)[read.name]
    return _value(read, 1 if op(last) in CHANNELS_FIRST else len(shape) - 1, shape)


def looked(
    network: GraphModule, inputs: Inputs, values: Sequence[Value], told: Told
) -> tuple[Any, tuple[Tensor, ...]]:
    """What the network gives, and what is told of these values, floats of 32 bits."""
    if not values:
        return network(*inputs), ()
    run = _Looking(network, frozenset(v.node for v in values))
    outputs = run.run(*inputs)
    return outputs, tuple(told(v.led(run.seen[v.node]).float()) for v in values)


class _Looking(Interpreter):
    def __init__(self, network: GraphModule, names: frozenset[str]) -> None:
        super().__init__(network)
        self._names = names
        self.seen: dict[str, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n.name in self._names:
            self.seen[n.name] = value
        return value


def pooled(value: Tensor) -> Tensor:
    """(batch, channels, …) → (batch, channels): the mean over all places."""
    return value.flatten(2).mean(2) if value.ndim > 2 else value


def resized(mine: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Both with as many places as the one that has fewer, by means over neighbours."""
    if mine.shape[2:] == theirs.shape[2:]:
        return mine, theirs
    size = [min(m, t) for m, t in zip(mine.shape[2:], theirs.shape[2:], strict=True)]
    if len(size) == 1:
        return F.adaptive_avg_pool1d(mine, size[0]), F.adaptive_avg_pool1d(theirs, size[0])
    high, wide = size
    return F.adaptive_avg_pool2d(mine, (high, wide)), F.adaptive_avg_pool2d(theirs, (high, wide))


def _samples_first(network: GraphModule, example: Inputs) -> dict[str, tuple[int, ...]]:
    """The shapes of values that grow in their first dimension, and in no other, with one sample more."""
    more = tuple(torch.cat([t, t[:1]]) for t in example)
    few, many = shapes(network, example), shapes(network, more)
    return {n: s for n, s in few.items() if s and many[n] == (s[0] + 1, *s[1:])}


def _value(node: Node, axis: int, shape: tuple[int, ...]) -> Value:
    axis %= len(shape)
    size = tuple(s for i, s in enumerate(shape) if i not in (0, axis))
    return Value(node.name, module_name(node), axis, shape[axis], size)


def _last_layer(network: GraphModule) -> Node | None:
    layers = [node for node in network.graph.nodes if op(node) in WEIGHTED]
    return layers[-1] if layers else None


def _is_output(node: Node) -> bool:
    return any(user.op == "output" for user in node.users)


def _axis(node: Any) -> int | None:
    """Where an operation has its channels; None where that cannot be told."""
    name = op(node).removesuffix("_") if isinstance(node, Node) else ""
    if name in CHANNELS_FIRST:
        return 1
    if name in CHANNELS_LAST:
        return -1
    return _axis(node.all_input_nodes[0]) if name in KEEP_PLACES and node.all_input_nodes else None
