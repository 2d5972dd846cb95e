"""ATen → ONNX: LSTM, GRU and plain recurrent layers, one ONNX operation a layer, both ways in one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from torch.fx import Node

from netsuke.nets import graph
from netsuke.nets.onnx_out.build import Builder, Operation, UntranslatedError
from netsuke.nets.onnx_out.edit import array, is_constant
from netsuke.nets.quantizers.roles import op

GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""ONNX's order of the gates, by torch's numbers."""
ZEROS = ("zeros", "new_zeros", "zeros_like")


def _lstm(b: Builder, o: Operation) -> list[ir.Value]:
    return _layers(b, o, "LSTM", states=2)


def _gru(b: Builder, o: Operation) -> list[ir.Value]:
    return _layers(b, o, "GRU", states=1, linear_before_reset=1)


def _rnn(activation: str) -> Callable[[Builder, Operation], list[ir.Value]]:
    def translate(b: Builder, o: Operation) -> list[ir.Value]:
        ways = 1 + int(bool(o["bidirectional"]))
        return _layers(b, o, "RNN", states=1, activations=[activation] * ways)

    return translate


def _layers(b: Builder, o: Operation, kind: str, states: int, **more: Any) -> list[ir.Value]:
    """The output of the last layer, and the last states of all."""
    if o.rank_of("input") != 3:
        raise UntranslatedError("a sequence without a batch")
    ways = 1 + int(bool(o["bidirectional"]))
    x = b("Transpose", o["input"], perm=[1, 0, 2]) if o["batch_first"] else o["input"]
    if not all(is_constant(v) for v in o["params"]):
        raise UntranslatedError("recurrent weights that are computed")
    weights = [array(v) for v in o["params"]]
    each = len(weights) // (o["num_layers"] * ways)
    if each != (4 if o["has_biases"] else 2):
        raise UntranslatedError("a projection")
    more |= {"direction": "bidirectional" if ways == 2 else "forward"}
    ends: list[Sequence[ir.Value]] = []
    for layer in range(o["num_layers"]):
        here = [
            weights[(layer * ways + w) * each : (layer * ways + w + 1) * each] for w in range(ways)
        ]
        held = [b.constant(c) for c in _ordered(here, kind)]
        absent = [None] * (4 - len(held))  # no biases; all steps count
        first = _initial(b, o, states, layer, ways)
        size = here[0][1].shape[1]
        made, *last = b.several(
            kind, 1 + states, x, *held, *absent, *first, hidden_size=size, **more
        )
        x = _joined(b, made, ways)
        ends.append(last)
    x = b("Transpose", x, perm=[1, 0, 2]) if o["batch_first"] else x
    return [x, *(_stacked(b, [last[i] for last in ends]) for i in range(states))]


def _ordered(ways: list[list[Any]], kind: str) -> list[NDArray[Any]]:
    """W, R and, where there are any, biases, with the directions in front."""

    def gates(w: NDArray[Any]) -> NDArray[Any]:
        parts = np.split(w, len(GATES[kind]))
        return np.concatenate([parts[i] for i in GATES[kind]])

    made = [np.stack([gates(way[i]) for way in ways]) for i in (0, 1)]
    if len(ways[0]) == 4:
        made.append(np.stack([np.concatenate([gates(way[2]), gates(way[3])]) for way in ways]))
    return made


def _initial(b: Builder, o: Operation, states: int, layer: int, ways: int) -> list[ir.Value]:
    """The rows of the first states that are this layer's; zeros need no saying."""
    given = graph.argument(o.node, "hx")
    nodes = list(given) if isinstance(given, list | tuple) else [given]
    if len(nodes) != states or not all(isinstance(n, Node) for n in nodes):
        raise UntranslatedError("a packed sequence")
    if all(op(n) in ZEROS for n in nodes):
        return []
    ends = (b.ints([layer * ways]), b.ints([(layer + 1) * ways]), b.ints([0]))
    return [b("Slice", o.values[n], *ends) for n in nodes]


def _joined(b: Builder, y: ir.Value, ways: int) -> ir.Value:
    """(steps, ways, batch, hidden) → (steps, batch, ways · hidden)."""
    if ways == 1:
        return b("Squeeze", y, b.ints([1]))
    return b("Reshape", b("Transpose", y, perm=[0, 2, 1, 3]), b.ints([0, 0, -1]))


def _stacked(b: Builder, ends: list[ir.Value]) -> ir.Value:
    return ends[0] if len(ends) == 1 else b("Concat", *ends, axis=0)


TABLE: dict[str, Callable[[Builder, Operation], Any]] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn_tanh": _rnn("Tanh"),
    "rnn_relu": _rnn("Relu"),
}
