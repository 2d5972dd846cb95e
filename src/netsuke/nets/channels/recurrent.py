"""The rule of recurrent layers: LSTM (Hochreiter and Schmidhuber, 1997), GRU (Cho et al., 2014), RNN."""

from typing import Any

import numpy as np

from netsuke.nets.calls import Call
from netsuke.nets.channels.labelling import Labelling, unknown
from netsuke.nets.channels.labels import Axes, Ints, fixed

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
CELLS = {"lstm_cell": 4, "gru_cell": 3, "rnn_tanh_cell": 1, "rnn_relu_cell": 1}


def recurrent(walk: Labelling, call: Call) -> Any:
    """A hidden unit leaves with its rows in all gates and its column, at the same place in every layer
    and direction, because one tensor holds the first states of them all."""
    given, params = call.given, walk.of(call, "params")
    states = walk.of(call, "hx")
    states = states if isinstance(states, list) else [states]
    ways, layers = 1 + int(given["bidirectional"]), given["num_layers"]
    each = 4 if given["has_biases"] else 2
    if (
        "input" not in given
        or len(walk.of(call, "input")) != 3
        or len(params) != each * ways * layers
    ):
        return unknown(walk, call)  # a packed sequence, one without a batch, a projection
    *around, features = walk.of(call, "input")
    for labels in around:
        walk.book.lock(labels, f"the batch or the steps of {call.where}")
    hidden = fixed(0)
    for layer in range(layers):
        made = []
        for way in range(ways):
            at = (layer * ways + way) * each
            made.append(_cell(walk, call, features, params[at : at + each]))
            for state in states:
                hidden = walk.book.join(made[-1], state[-1], call.where)
        features = np.concatenate(made)
    ends = (fixed(layers * ways), fixed(len(states[0][1])), hidden)
    return [(*around, features), *(ends for _ in states)]


def recurrent_cell(walk: Labelling, call: Call) -> Any:
    """One step of one layer."""
    features, states = walk.of(call, "input"), walk.of(call, "hx")
    names = ("w_ih", "w_hh", "b_ih", "b_hh")
    params = [p for p in (walk.of(call, n) for n in names) if p is not None]
    hidden = _cell(walk, call, features[-1], params)
    for state in states if isinstance(states, list) else [states]:
        hidden = walk.book.join(hidden, state[-1], call.where)
    out = (*features[:-1], hidden)
    return [out, out] if isinstance(call.result, tuple) else out


def _cell(walk: Labelling, call: Call, features: Ints, params: list[Axes]) -> Ints:
    """Weights of the input (gates · hidden, features), of the state (gates · hidden, hidden), biases."""
    of_input, of_state = params[:2]
    walk.book.role(of_input[1], "consumer")
    walk.book.role(of_state[1], "consumer")
    walk.book.join(features, of_input[1], call.where)
    for tensor in params:
        walk.book.role(tensor[0], "producer")
        for gate in np.split(tensor[0], (GATES | CELLS)[call.kind]):
            walk.book.join(of_state[1], gate, call.where)
    return of_state[1]
