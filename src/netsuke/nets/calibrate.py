"""Ranges of quantizers from calibration data.

Each activation is summarised by a histogram of fixed size, so memory does not grow with the data.
The histogram's bins are centred on multiples of their width, because zero, which ReLU makes of half
of all values, must be counted as exactly zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from netsuke.core.errors import NetsukeError
from netsuke.nets import graph
from netsuke.nets.quantizer import (
    BIAS_LIMIT,
    QUANTIZE,
    Encoding,
    Quantizer,
    Scheme,
    encode,
    quantizers,
    read,
    write,
)

Estimator = Literal["minmax", "average", "percentile", "mse"]

BINS = 4096
"""On each side of zero: 16 and more for each of the 256 levels they are to be mapped to."""
PERCENTILE = 99.99
CANDIDATES = 80


class Histogram:
    """Counts of values in bins of one width, centred on its multiples; the width doubles as needed.

    Also keeps the extremes, and the mean of the batches' extremes.
    """

    def __init__(self) -> None:
        self.width = 0.0
        self.counts = torch.zeros(2 * BINS + 1, dtype=torch.float64)
        self.low = self.high = 0.0
        self._sums = [0.0, 0.0]
        self._batches = 0

    def add(self, values: Tensor) -> None:
        """Count a batch of finite values."""
        low, high = (float(v) for v in values.aminmax())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._sums = [self._sums[0] + low, self._sums[1] + high]
        self._batches += 1
        reach = max(-low, high)
        if reach == 0:
            self.counts[BINS] += values.numel()
            return
        self._widen(reach)
        edge = (BINS + 0.5) * self.width
        self.counts += torch.histc(values.float().flatten(), 2 * BINS + 1, -edge, edge).double()

    @property
    def mean_range(self) -> tuple[float, float]:
        """Mean over batches of the smallest and the largest value."""
        return self._sums[0] / self._batches, self._sums[1] / self._batches

    @property
    def centres(self) -> Tensor:
        return torch.arange(-BINS, BINS + 1, dtype=torch.float64) * self.width

    def _widen(self, reach: float) -> None:
        if self.width == 0:
            self.width = 2.0 ** torch.tensor(reach).log2().ceil().item() / BINS
        while reach > BINS * self.width:
            self.counts = _halved(self.counts)
            self.width *= 2


def _halved(counts: Tensor) -> Tensor:
    """The same counts in bins twice as wide; what stands between two bins goes half to each."""
    even, odd = counts[0::2], counts[1::2] / 2
    merged = even.clone()
    merged[:-1] += odd
    merged[1:] += odd
    out = torch.zeros_like(counts)
    out[BINS // 2 : BINS // 2 + BINS + 1] = merged
    return out


@dataclass(frozen=True)
class Ranges:
    """How a range is estimated. percentile: the share of values to keep inside, in percent."""

    estimator: Estimator = "mse"
    percentile: float = PERCENTILE

    def of(self, seen: Histogram, scheme: Scheme) -> tuple[float, float]:
        """(low, high) to encode."""
        if self.estimator == "minmax" or seen.width == 0:
            return seen.low, seen.high
        if self.estimator == "average":
            return seen.mean_range
        if self.estimator == "percentile":
            return _percentile(seen, self.percentile)
        return _least_error(seen, scheme)


def calibrate(
    network: GraphModule, batches: Iterable[Sequence[Tensor]], ranges: Ranges | None = None
) -> None:
    """Set every encoding of a placed network (in place) from batches of its inputs.

    Activations that share an encoding share their histogram. Weights take their own extremes, or
    the least square error below 8 bits; biases are rounded to the grid of the sums they join.
    An activation that is always zero gets a scale of 1.

    Raises NetsukeError where there is no batch, or one brings NaN or infinite values into a layer.
    """
    ranges = ranges or Ranges()
    for key, seen in _observe(network, batches).items():
        scheme = Scheme(bits=next(q.bits for q in quantizers(network) if q.key == key))
        low, high = ranges.of(seen, scheme)
        write(network, key, encode(torch.tensor(low), torch.tensor(high), scheme))
    encode_constants(network)


def encode_constants(network: GraphModule) -> None:
    """Set the encodings of weights and biases from their values and their inputs' encodings."""
    for q in quantizers(network):
        if q.constant and q.limits[1] != BIAS_LIMIT and q.axis >= 0:
            write(network, q.key, encode_weight(_value(network, q), _scheme(q)))
    for q in quantizers(network):
        if q.limits[1] == BIAS_LIMIT:
            _encode_bias(network, q)


def encode_weight(weight: Tensor, scheme: Scheme) -> Encoding:
    """The encoding of a weight, one scale for each channel of the scheme's axis."""
    rows = weight.detach().double().movedim(scheme.axis, 0).flatten(1)
    reach = rows.abs().amax(1)
    if scheme.bits < 8:
        reach = _least_error_rows(rows, reach, scheme.limits[1])
    return encode(-reach, reach, scheme)


def _encode_bias(network: GraphModule, q: Quantizer) -> None:
    """A bias has the scale of the sums it joins; a channel whose weights are too small to carry
    its bias in 32 bits gets coarser weights."""
    (user,) = q.node.users
    x, weight = (_quantizer_before(n) for n in user.args[:2])  # type: ignore[arg-type]
    inputs, weights = read(network, x.key), read(network, weight.key)
    bias = _value(network, q).detach().double().abs()
    least = bias / (BIAS_LIMIT / 2) / inputs.scale.double()
    scale = torch.maximum(weights.scale.double(), least).float()
    write(network, weight.key, Encoding(scale, weights.zero_point))
    zero = torch.zeros_like(scale, dtype=torch.int32)
    write(network, q.key, Encoding((scale.double() * inputs.scale.double()).float(), zero))


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
        self._at = {q.node: q for q in quantizers(network)}

    def run_node(self, n: Node) -> Any:
        q = self._at.get(n)
        if q is None:
            return super().run_node(n)
        value = self.env[q.source]
        if q.constant and q.axis >= 0:
            return value
        if not bool(torch.isfinite(value).all()):
            raise NetsukeError(
                f"calibrate: NaN or infinite values at {graph.where(q.source)}; mend the samples"
            )
        self.seen.setdefault(q.key, Histogram()).add(value)
        return value


def _percentile(seen: Histogram, percent: float) -> tuple[float, float]:
    tail = (1 - percent / 100) * seen.counts.sum()
    below = seen.counts.cumsum(0)
    low = int((below <= tail).sum())
    high = int((below < seen.counts.sum() - tail).sum())
    centres = seen.centres
    return float(centres[low].clamp(max=0)), float(centres[min(high, 2 * BINS)].clamp(min=0))


def _least_error(seen: Histogram, scheme: Scheme) -> tuple[float, float]:
    """The range whose encoding has the least mean square error (Banner et al., 2019, searched).

    Shrinks the high end, then the low one, then the high end again.
    """
    filled = seen.counts > 0
    values, counts = seen.centres[filled], seen.counts[filled]
    low, high = seen.low, seen.high
    shares = torch.linspace(1, 0.2, CANDIDATES, dtype=torch.float64)
    for end in (1, 0, 1):
        lows = low * shares if end == 0 else torch.full_like(shares, low)
        highs = high * shares if end == 1 else torch.full_like(shares, high)
        error = _errors(values, counts, encode(lows, highs, scheme), scheme)
        best = int(error.argmin())
        if end == 0:
            low = float(seen.low * shares[best])
        else:
            high = float(seen.high * shares[best])
    return low, high


def _errors(values: Tensor, counts: Tensor, tried: Encoding, scheme: Scheme) -> Tensor:
    """Total square error of each encoding tried."""
    qmin, qmax = scheme.limits
    scale, zero = tried.scale.double()[:, None], tried.zero_point[:, None]
    level = (torch.round(values / scale) + zero).clamp(qmin, qmax)
    return (((level - zero) * scale - values) ** 2) @ counts


def _least_error_rows(rows: Tensor, reach: Tensor, top: int) -> Tensor:
    """For each row the reach whose symmetric grid has the least square error."""
    best, least = reach, torch.full_like(reach, torch.inf)
    for share in torch.linspace(1, 0.2, CANDIDATES).tolist():
        scale = (reach * share / top).clamp(min=torch.finfo(torch.float32).tiny)[:, None]
        error = ((rows / scale).round().clamp(-top, top).mul(scale) - rows).square().sum(1)
        best = torch.where(error < least, reach * share, best)
        least = torch.minimum(error, least)
    return best


def _quantizer_before(node: Node) -> Quantizer:
    """The quantizer a value comes from, past operations that only move it."""
    while node.target is not QUANTIZE:
        node = node.args[0][0] if isinstance(node.args[0], list | tuple) else node.args[0]  # type: ignore[index,assignment]
    return Quantizer.of(node)


def _value(network: GraphModule, q: Quantizer) -> Tensor:
    value = graph.tensor_of(network, q.source)
    assert value is not None
    return value


def _scheme(q: Quantizer) -> Scheme:
    return Scheme(bits=q.bits, symmetric=q.limits[0] < 0, axis=q.axis)
