"""Ranges of numbers to encode: a histogram of bounded size, and how to choose its ends.

The histogram's bins are centred on multiples of their width, because zero, which ReLU makes of half
of all values, must be counted as exactly zero.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from netsuke.core.scheme import Lookup, Uniform
from netsuke.nets.quantizers.lookup import nearest, spanning
from netsuke.nets.quantizers.quantizer import Encoding, encode

Estimator = Literal["minmax", "average", "moving", "percentile", "mse", "entropy"]
BINS = 4096
"""On each side of zero: 16 and more for each of the 256 levels they are to be mapped to."""
PERCENTILE = 99.99
CANDIDATES = 80
MOMENTUM = 0.9
"""What a moving average keeps of its past at each batch."""


class Histogram:
    """Counts of values in bins of one width, centred on its multiples; the width doubles as needed.

    Also keeps the extremes, and the mean and the moving average of the batches' extremes.
    """

    def __init__(self) -> None:
        self.width = 0.0
        self.counts = torch.zeros(2 * BINS + 1, dtype=torch.float64)
        self.low = self.high = 0.0
        self.moving_range = 0.0, 0.0
        self._sums = [0.0, 0.0]
        self._batches = 0

    def add(self, values: Tensor) -> None:
        """Count a batch of finite values."""
        low, high = (float(v) for v in values.aminmax())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._sums = [self._sums[0] + low, self._sums[1] + high]
        past = MOMENTUM if self._batches else 0.0
        before = self.moving_range
        self.moving_range = (
            past * before[0] + (1 - past) * low,
            past * before[1] + (1 - past) * high,
        )
        self._batches += 1
        reach = max(-low, high)
        if reach < torch.finfo(torch.float32).tiny:
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
            self.width = 2.0 ** math.ceil(math.log2(reach)) / BINS
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
    """How a range is estimated: the extremes, their mean or moving average over batches (Jacob et al.,
    2018), all but the tails, the least square error, or the least divergence (Migacz, 2017).

    percentile: the share of values to keep inside, in percent.
    """

    estimator: Estimator = "mse"
    percentile: float = PERCENTILE

    def of(self, seen: Histogram, scheme: Uniform | Lookup) -> tuple[float, float]:
        """(low, high) to encode; of a table, which is stretched to the farther end, the same on both
        sides where errors are compared."""
        if self.estimator == "minmax" or seen.width == 0:
            return seen.low, seen.high
        if self.estimator == "average":
            return seen.mean_range
        if self.estimator == "moving":
            return seen.moving_range
        if self.estimator == "entropy":
            return _least_divergence(seen, scheme)
        if self.estimator == "percentile":
            return _percentile(seen, self.percentile)
        return _least_error(seen, scheme)


def _percentile(seen: Histogram, percent: float) -> tuple[float, float]:
    """What all but the tails lie within; never narrower than a bin on a side that has values."""
    tail = (1 - percent / 100) * seen.counts.sum()
    below = seen.counts.cumsum(0)
    low = float(seen.centres[int((below <= tail).sum())])
    high = float(seen.centres[int((below < below[-1] - tail).sum())])
    return max(seen.low, min(low, -seen.width)), min(seen.high, max(high, seen.width))


def _least_divergence(seen: Histogram, scheme: Uniform | Lookup) -> tuple[float, float]:
    """The range, clipped at one distance on both sides of zero, that changes the distribution of the
    values least in relative entropy once they are rounded to the scheme's levels (Migacz, "8-bit
    inference with TensorRT", 2017)."""
    filled = seen.counts.nonzero().flatten()
    first, last = min(int(filled[0]), BINS), max(int(filled[-1]), BINS)
    levels = (
        2**scheme.bits if isinstance(scheme, Lookup) else scheme.limits[1] - scheme.limits[0] + 1
    )
    reach = max(BINS - first, last - BINS, 1)
    least = min(reach, levels // 2)
    ends = [
        (max(first, BINS - round(r)), min(last, BINS + round(r)))
        for r in torch.linspace(reach, least, CANDIDATES).tolist()
    ]
    low, high = min(ends, key=lambda e: _divergence(seen.counts, e, _level_of(seen, e, scheme)))
    clip = float(seen.centres[low]), float(seen.centres[high])
    return max(seen.low, min(clip[0], 0.0)), min(seen.high, max(clip[1], 0.0))


def _level_of(seen: Histogram, ends: tuple[int, int], scheme: Uniform | Lookup) -> Tensor:
    """The number of the level that each bin between the ends is rounded to."""
    low, high = ends
    if isinstance(scheme, Lookup):
        inside = seen.centres[low : high + 1]
        made = spanning(inside.abs().amax(), scheme)
        return nearest(inside / made.scale, made.levels)
    count = high - low + 1
    return torch.arange(count) * (scheme.limits[1] - scheme.limits[0] + 1) // count


def _divergence(counts: Tensor, ends: tuple[int, int], level: Tensor) -> float:
    """Relative entropy of the counts, their tails gathered at the ends, to the same counts spread
    evenly over the filled bins of each level."""
    low, high = ends
    inside = counts[low : high + 1]
    clipped = inside.clone()
    clipped[0] += counts[:low].sum()
    clipped[-1] += counts[high + 1 :].sum()
    filled, levels = (clipped > 0).double(), int(level.max()) + 1
    sums, bins = (torch.zeros(levels).double().index_add(0, level, x) for x in (inside, filled))
    spread = (sums / bins.clamp(min=1))[level] * filled
    p, q = clipped / clipped.sum(), spread / spread.sum().clamp(min=1)
    kept = p > 0
    return float((p[kept] * (p[kept] / q[kept].clamp(min=1e-12)).log()).sum())


def _least_error(seen: Histogram, scheme: Uniform | Lookup) -> tuple[float, float]:
    """The range whose encoding has the least mean square error, found by search (after Banner et
    al., 2019, who derive it for two distributions).

    Both ends come in together first, then each alone around where it stands, twice.
    """
    filled = seen.counts > 0
    values, counts = seen.centres[filled], seen.counts[filled]
    if isinstance(scheme, Lookup):
        reach = _least_error_reach(seen, values, counts, scheme)
        return -reach, reach
    ends = torch.tensor([seen.low, seen.high], dtype=torch.float64)
    together = torch.logspace(0, -10, CANDIDATES, base=2, dtype=torch.float64)
    best = _best(ends * together[:, None], values, counts, scheme)
    around = torch.linspace(1.4, 0.6, CANDIDATES // 2, dtype=torch.float64)
    for end in (1, 0, 1, 0):
        tried = best.repeat(len(around), 1)
        tried[:, end] = (best[end] * around).clamp(float(ends[0]), float(ends[1]))
        best = _best(tried, values, counts, scheme)
    return float(best[0]), float(best[1])


def _least_error_reach(seen: Histogram, values: Tensor, counts: Tensor, scheme: Lookup) -> float:
    """How far a table must reach for the least mean square error: likewise, from one end."""

    def error(reach: float) -> float:
        made = spanning(torch.tensor(reach, dtype=torch.float64), scheme)
        scale = made.scale.double()
        made_of_it = made.levels.double()[nearest(values / scale, made.levels)] * scale
        return float((made_of_it - values).square() @ counts)

    whole = max(-seen.low, seen.high)
    shares = torch.logspace(0, -10, CANDIDATES, base=2, dtype=torch.float64).tolist()
    best = min((whole * share for share in shares), key=error)
    around = torch.linspace(1.4, 0.6, CANDIDATES // 2).tolist()
    return min((best, *(min(whole, best * share) for share in around)), key=error)


def _best(tried: Tensor, values: Tensor, counts: Tensor, scheme: Uniform) -> Tensor:
    """The one of several (low, high) with the least error."""
    made = encode(tried[:, 0], tried[:, 1], scheme)
    return tried[int(_errors(values, counts, made, scheme).argmin())]


def _errors(values: Tensor, counts: Tensor, tried: Encoding, scheme: Uniform) -> Tensor:
    """Total square error of each encoding tried."""
    qmin, qmax = scheme.limits
    scale, zero = tried.scale.double()[:, None], tried.zero_point[:, None]
    level = (torch.round(values / scale) + zero).clamp(qmin, qmax)
    return (((level - zero) * scale - values) ** 2) @ counts
