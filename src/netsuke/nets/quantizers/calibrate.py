"""Encodings of a placed network from calibration data.

Each activation is summarised by a histogram of fixed size, so memory does not grow with the data.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from netsuke.core.errors import NetsukeError
from netsuke.core.scheme import Uniform
from netsuke.nets import graph
from netsuke.nets.quantizers.activations import activations, set_encoding
from netsuke.nets.quantizers.lookup import grouped
from netsuke.nets.quantizers.quantizer import (
    BIAS_LIMIT,
    QUANTIZE,
    Encoding,
    Quantizer,
    encode,
    is_weight,
    power_of_two,
    quantizers,
    read,
    write,
)
from netsuke.nets.quantizers.ranges import CANDIDATES, Histogram, Ranges

CHUNK = 2**17
"""Weights that are searched at once: their copies stay in the processor's cache."""


def calibrate(
    network: GraphModule, batches: Iterable[Sequence[Tensor]], ranges: Ranges | None = None
) -> None:
    """Set every encoding of a placed network (in place) from batches of its inputs.

    Activations that share an encoding share their histogram. Weights take their own extremes, or
    the least square error below 8 bits; biases are rounded to the grid of the sums they join.
    An activation that is always zero gets a scale of 1.

    Raises NetsukeError where there is no batch, or one brings NaN or infinite values into a layer, or
    values that its format cannot hold.
    """
    ranges = ranges or Ranges()
    histograms = _observe(network, batches)
    for at in list({a.key: a for a in activations(network)}.values()):
        if at.key in histograms:
            set_encoding(network, at, histograms[at.key], ranges)
    encode_constants(network)


def encode_constants(network: GraphModule) -> None:
    """Set the encodings of weights and biases from their values and their inputs' encodings."""
    for q in quantizers(network):
        if q.limits[1] != BIAS_LIMIT and is_weight(q):
            write(network, q.key, encode_weight(_value(network, q), q.scheme))
    encode_biases(network)


def encode_biases(network: GraphModule) -> None:
    """Set the encodings of biases from those of the sums they join, which must be set."""
    for q in quantizers(network):
        if q.limits[1] == BIAS_LIMIT:
            _encode_bias(network, q)


def encode_weight(weight: Tensor, scheme: Uniform, candidates: int = CANDIDATES) -> Encoding:
    """The encoding of a weight, one scale for each channel of the scheme's axis, for each group, or
    for all. Below 8 bits a symmetric one has the least square error of so many, not the full range."""
    weight = weight.detach().double()
    if scheme.group:
        rows = grouped(weight, scheme.group)
    else:
        rows = weight.flatten() if scheme.axis < 0 else weight.movedim(scheme.axis, 0).flatten(1)
    if not scheme.symmetric:
        return encode(rows.amin(-1), rows.amax(-1), scheme)
    reach = rows.abs().amax(-1)
    if scheme.bits < 8 and scheme.limits[0] < 0:
        flat = rows.reshape(-1, rows.shape[-1])
        each = max(1, CHUNK // flat.shape[1])
        parts = zip(flat.split(each), reach.reshape(-1).split(each), strict=True)
        found = [_least_error_rows(*part, scheme.limits[1], candidates) for part in parts]
        reach = torch.cat(found).view_as(reach)
    return encode(-reach, reach, scheme)


def _encode_bias(network: GraphModule, q: Quantizer) -> None:
    """A bias has the scale of the sums it joins; a channel whose weights are too small to carry
    its bias in 32 bits gets coarser weights."""
    (user,) = q.node.users
    x, weight = (_quantizer_before(n) for n in user.args[:2])  # type: ignore[arg-type]
    inputs, weights = read(network, x.key), read(network, weight.key)
    bias = _value(network, q).detach().double().abs()
    least = bias / (BIAS_LIMIT / 2) / inputs.scale.double()
    least = least if weights.scale.dim() else least.amax()
    scale = torch.maximum(weights.scale.double(), least).float()
    scale = power_of_two(scale) if weight.scheme.power_of_two else scale
    write(network, weight.key, Encoding(scale, weights.zero_point))
    joined = (scale.double() * inputs.scale.double()).float().expand(len(bias))
    write(network, q.key, Encoding(joined, torch.zeros_like(joined, dtype=torch.int32)))


def _observe(network: GraphModule, batches: Iterable[Sequence[Tensor]]) -> dict[str, Histogram]:
    watcher, mode, count = _Watcher(network), network.training, 0
    network.eval()
    try:
        with torch.inference_mode():
            for batch in batches:
                watcher.run(*batch)
                count += 1
    finally:
        network.train(mode)
    if count == 0:
        raise NetsukeError("calibrate: there are no samples; give some hundred inputs")
    return watcher.seen


class _Watcher(Interpreter):
    """Runs the float network; where a quantizer stands, it counts instead of rounding."""

    def __init__(self, network: GraphModule) -> None:
        super().__init__(network)
        self.seen: dict[str, Histogram] = {}
        self._at = {a.node: a for a in activations(network)}
        self._off = {q.node for q in quantizers(network)}

    def run_node(self, n: Node) -> Any:
        at = self._at.get(n)
        if at is None:
            return self.env[n.all_input_nodes[0]] if n in self._off else super().run_node(n)
        value = self.env[at.source]
        if not bool(torch.isfinite(value).all()):
            raise NetsukeError(
                f"calibrate: NaN or infinite values at {graph.where(at.source)}; mend the samples"
            )
        self.seen.setdefault(at.key, Histogram()).add(value)
        return value


def _least_error_rows(rows: Tensor, reach: Tensor, top: int, candidates: int) -> Tensor:
    """For each row the reach whose symmetric grid has the least square error."""
    best, least = reach, torch.full_like(reach, torch.inf)
    for share in torch.linspace(1, 0.2, candidates).tolist():
        scale = (reach * share / top).clamp(min=torch.finfo(torch.float32).tiny)[:, None]
        error = ((rows / scale).round().clamp(-top, top).mul(scale) - rows).square().sum(1)
        best = torch.where(error < least, reach * share, best)
        least = torch.minimum(error, least)
    return best


def _quantizer_before(node: Node) -> Quantizer:
    """The quantizer a value comes from, past operations that only move it."""
    while node.target is not QUANTIZE:
        node = node.all_input_nodes[0]
    return Quantizer.of(node)


def _value(network: GraphModule, q: Quantizer) -> Tensor:
    value = graph.tensor_of(network, q.source)
    assert value is not None
    return value
