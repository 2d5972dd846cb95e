"""Layer after layer, weights rounded so that the quantized network gives what the float one gave."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.nets import graph
from netsuke.nets.graph import set_tensor, tensor_of
from netsuke.nets.quantizers.correct import Correction, gain, shift
from netsuke.nets.quantizers.quantizer import (
    BIAS_LIMIT,
    QUANTIZE,
    Encoding,
    Quantizer,
    quantizers,
    read,
    write,
)
from netsuke.nets.quantizers.roles import WEIGHTED, op
from netsuke.nets.quantizers.rounding.adaround import adaround
from netsuke.nets.quantizers.rounding.gptq import gptq
from netsuke.nets.quantizers.rounding.nearest import nearest
from netsuke.nets.quantizers.rounding.problem import Grid, Problem
from netsuke.nets.quantizers.rounding.rows import groups_of
from netsuke.nets.quantizers.rounding.stages import layer_by_layer

Rounding = Literal["nearest", "gptq", "adaround"]
METHODS: dict[str, Callable[[Problem], Tensor]] = {
    "nearest": nearest,
    "gptq": gptq,
    "adaround": adaround,
}
WIDE = 1024
"""Inputs of a layer from which on it is solved in single precision, as Frantar et al. do always."""


@dataclass(frozen=True)
class Done:
    """layers: how many were reconstructed. samples: on how many. left: layers rounded to nearest
    instead, with the reason."""

    layers: int
    samples: int
    left: tuple[str, ...]


def reconstruct(
    network: GraphModule,
    batches: Iterable[Sequence[Tensor]],
    rounding: Rounding,
    correct: Correction = "none",
) -> Done:
    """Round the weights of a calibrated network (in place), in the order of the graph.

    Each layer reads what the network quantized so far gives it and aims at what it gave in the float
    network. The chosen values become the weights, so that the quantizers give exactly them. batches:
    of inputs, iterable again; no labels. Memory is bounded: see ``layer_by_layer``.
    """
    layers, left = _layers(network)
    how = (rounding, correct)
    samples = layer_by_layer(
        network, layers, batches, lambda layer, x, y: _solve(network, layer, (x, y), how)
    )
    return Done(len(layers), samples, tuple(left))


def _solve(
    network: GraphModule, layer: Node, seen: tuple[Tensor, Tensor], how: tuple[Rounding, Correction]
) -> None:
    """Replace the layer's weight, and what is to be corrected, by what fits the rows."""
    x, y = seen
    q, weight, bias = _parts(network, layer)
    grid = Grid.of(network, q, len(x), weight)
    assert grid is not None
    # In place: for a wide layer its outputs are the largest of all.
    own = y if bias is None else y.sub_(_tensor(network, bias.source).view(len(x), 1, -1))
    correct = "none" if bias is None else how[1]
    problem = Problem(weight.reshape(grid.step.shape), grid, x, own).to(_precision(x))
    rounded = METHODS[how[0]](problem if correct == "none" else _centred(problem))
    if bias is not None and correct != "none":
        given = _channels_last(x @ rounded.float().mT)
        if correct == "norm":
            factor = _rescale(network, (q, bias), gain(_channels_last(own), given))
            rounded = rounded * factor.view(len(x), -1, 1)
            given = given * factor
        _add(network, bias, shift(_channels_last(own), given))
    set_tensor(network, str(q.source.target), rounded.reshape(weight.shape).to(weight.dtype))


def _precision(x: Tensor) -> torch.dtype:
    """Single where a layer has many inputs: there a matrix of them all takes most of the memory."""
    return torch.float32 if x.shape[2] >= WIDE else torch.float64


def _centred(problem: Problem) -> Problem:
    """Without means, which the bias takes care of."""
    x, y = (t - t.mean(1, keepdim=True) for t in (problem.x, problem.y))
    return replace(problem, x=x, y=y)


def _rescale(network: GraphModule, both: tuple[Quantizer, Quantizer], factor: Tensor) -> Tensor:
    """Multiply the scales of a weight and its bias; gives the factor, 1 where there is one scale."""
    weights = read(network, both[0].key)
    if weights.scale.shape != factor.shape:
        return torch.ones_like(factor)
    for q in both:
        encoding = read(network, q.key)
        scale = (encoding.scale.double() * factor).float()
        write(network, q.key, Encoding(scale, encoding.zero_point))
    return factor


def _add(network: GraphModule, bias: Quantizer, shift: Tensor) -> None:
    """Add to a bias, within what its 32 bits hold."""
    old = _tensor(network, bias.source)
    most = BIAS_LIMIT / 2 * read(network, bias.key).scale.double()
    new = (old.double() + shift).clamp(-most, most)
    set_tensor(network, str(bias.source.target), new.to(old.dtype))


def _channels_last(rows: Tensor) -> Tensor:
    """(groups, rows, channels of a group) → (rows, channels)."""
    return rows.transpose(0, 1).flatten(1)


def _layers(network: GraphModule) -> tuple[list[Node], list[str]]:
    """Layers whose weights can be chosen, in the order of the graph, and why others cannot."""
    layers, left = [], []
    readers = Counter(q.source.target for q in quantizers(network))
    for node in network.graph.nodes:
        if op(node) not in WEIGHTED or not graph.op(node.args[1]).startswith("netsuke."):
            continue
        if node.args[1].target is not QUANTIZE:
            left.append(f"{graph.where(node)} has no uniform grid")
            continue
        q, weight, _ = _parts(network, node)
        if readers[q.source.target] > 1:
            left.append(f"{graph.where(node)} shares its weight")
        elif Grid.of(network, q, groups_of(node), weight) is None:
            left.append(f"{graph.where(node)} has no symmetric grid")
        elif not bool(weight.any()):
            left.append(f"{graph.where(node)} has only zeros")
        else:
            layers.append(node)
    return layers, left


def _parts(network: GraphModule, layer: Node) -> tuple[Quantizer, Tensor, Quantizer | None]:
    """The weight's quantizer, the weight, the bias's quantizer."""
    q = Quantizer.of(layer.args[1])  # type: ignore[arg-type]
    bias = layer.args[2] if len(layer.args) > 2 else None
    made = Quantizer.of(bias) if isinstance(bias, Node) and bias.target is QUANTIZE else None
    return q, _tensor(network, q.source), made


def _tensor(network: GraphModule, node: Node) -> Tensor:
    found = tensor_of(network, node)
    assert found is not None
    return found.detach()
