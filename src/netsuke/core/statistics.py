"""Intervals for what was measured: qualities on the same samples, and times that took turns.

Numpy and the standard library only, so that a device can judge. All intervals are 95 %.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsuke.core.errors import NetsukeError
from netsuke.core.metric import Array, Metric

LEVEL = 0.95
Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
RESAMPLES = 1000
# Elements drawn from before a bootstrap takes fewer resamples, so that it ends within seconds.
DRAWS = 2_000_000_000


class Interval(NamedTuple):
    """A value with its 95 % interval; the ends are None where the samples allow none."""

    value: float
    low: float | None
    high: float | None


class Comparison(NamedTuple):
    """Quality before, quality after, and the drop between them on the same samples."""

    before: Interval
    after: Interval
    drop: Interval


def compare(metric: Metric, before: Array, after: Array, targets: Array, seed: int) -> Comparison:
    """Quality of two sets of outputs for the same samples, and its drop.

    before, after: what ``metric.each`` gave per sample where the metric has it, else the outputs
    themselves, samples first. The drop is positive where ``after`` is worse, in the sense of
    ``metric.drop``. Per-sample scores that are fractions get a closed form (``paired_mean``),
    everything else a paired bootstrap with the seed.
    """
    if metric.each is not None and metric.unit == "%":
        sign = 1.0 if metric.higher else -1.0
        drop = paired_mean(sign * before, sign * after)
        return Comparison(mean(before), mean(after), drop)
    if metric.each is not None:
        return _bootstrap(metric, lambda s, rows: float(s[rows].mean()), before, after, seed)

    def score(outputs: Array, rows: Array) -> float:
        return metric.score(outputs[rows], targets[rows])

    return _bootstrap(metric, score, before, after, seed)


def mean(scores: Array) -> Interval:
    """Interval of a mean: Wilson's (1927) score interval for scores of 0 and 1, else Student's t."""
    n, value = len(scores), float(np.mean(scores))
    if n < 2:
        return Interval(value, None, None)
    if not is_binary(scores):
        return _student(scores)
    middle = (value + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(value * (1 - value) / n + Z**2 / (4 * n * n))
    # Rounding must not put the value outside, at shares of 0 and 1.
    return Interval(value, max(0.0, min(value, middle - half)), min(1.0, max(value, middle + half)))


def paired_mean(before: Array, after: Array) -> Interval:
    """Interval of ``mean(before) - mean(after)`` for scores of the same samples.

    Scores of 0 and 1: the adjusted Wald interval of Bonett and Price (2012), which adds one
    discordant pair each way and so keeps its level even where few or no samples differ. Other
    scores: Student's t of the differences.
    """
    if len(before) != len(after):
        raise ValueError(f"paired scores differ in length: {len(before)} and {len(after)}")
    n = len(before)
    if n < 2:
        return Interval(float(np.mean(before) - np.mean(after)), None, None)
    if not (is_binary(before) and is_binary(after)):
        return _student(before - after)
    lost, won = int(np.sum(before > after)), int(np.sum(after > before))
    p, q = (lost + 1) / (n + 2), (won + 1) / (n + 2)
    half = Z * math.sqrt((p + q - (p - q) ** 2) / (n + 2))
    return Interval((lost - won) / n, max(-1.0, p - q - half), min(1.0, p - q + half))


def is_binary(scores: Array) -> bool:
    """True where every score is 0 or 1."""
    return bool(np.all((scores == 0) | (scores == 1)))


def median(values: Sequence[float]) -> Interval:
    """Interval of a median by order statistics (Thompson, 1936): exact for any distribution.

    Fewer than six values allow none. Meant for the ratios of sittings in which two artifacts took
    turns: one disturbed sitting of nine moves neither the median nor the interval.
    """
    ordered, n = sorted(values), len(values)
    value = float(np.median(ordered))
    tail, skip = 0.0, -1
    while skip + 1 < n / 2 and tail + math.comb(n, skip + 1) / 2**n <= (1 - LEVEL) / 2:
        skip += 1
        tail += math.comb(n, skip) / 2**n
    if skip < 0:
        return Interval(value, None, None)
    return Interval(value, ordered[skip], ordered[n - 1 - skip])


def quantile(groups: Sequence[Array], share: float, seed: int = 0) -> Interval:
    """Interval of a quantile of values that come in groups, by resampling whole groups.

    Times measured close together resemble each other; resampling single values would call the
    result surer than it is (cluster bootstrap: Field and Welsh, 2007). One group allows none.
    """
    value = float(np.quantile(np.concatenate(groups), share))
    if len(groups) < 2:
        return Interval(value, None, None)
    rng = np.random.default_rng(seed)
    drawn = [
        np.quantile(np.concatenate([groups[i] for i in row]), share)
        for row in rng.integers(len(groups), size=(RESAMPLES // 2, len(groups)))
    ]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, min(value, float(low)), max(value, float(high)))


def samples_needed(interval: Interval, limit: float, samples: int) -> int | None:
    """About how many more samples would put the interval on one side of the limit.

    Takes the value to stay and the interval to shrink with the root of the count. 0 where it is on
    one side already; None where the value sits on the limit, so that no count would do.
    """
    value, low, high = interval
    if low is None or high is None or value == limit:
        return None
    half, gap = (high - value, limit - value) if value < limit else (value - low, value - limit)
    return max(0, math.ceil(samples * ((half / gap) ** 2 - 1)))


def t_quantile(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t, by Fisher's expansion (Abramowitz and Stegun,
    26.7.5): within 1 % for 2 degrees of freedom, 0.03 % from 4 on."""
    f, z = float(freedom), Z
    terms = (
        (z**3 + z) / (4 * f),
        (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2),
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3),
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * f**4),
    )
    return z + sum(terms)


def _student(values: Array) -> Interval:
    value = float(np.mean(values))
    if len(values) < 3:
        return Interval(value, None, None)
    half = t_quantile(len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Interval(value, value - half, value + half)


Score = Callable[[Array, NDArray[np.intp]], float]


def _bootstrap(metric: Metric, score: Score, before: Array, after: Array, seed: int) -> Comparison:
    """Percentile bootstrap (Efron, 1979) of both qualities and the drop on the same resamples.

    On 250 samples it covered the true drop of AUC in 93 % and of F1 in 92 % of 600 simulations.
    """
    n = len(before)
    every = np.arange(n)
    values = [score(before, every), score(after, every)]
    values.append(metric.drop(values[0], values[1]))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(max(200, min(RESAMPLES, DRAWS // max(1, before.size)))):
        rows = rng.integers(n, size=n)
        try:
            a, b = score(before, rows), score(after, rows)
        except NetsukeError:
            continue  # A resample of one class only has no AUC; it tells nothing.
        drawn.append((a, b, metric.drop(a, b)))
    found = [_percentiles(v, [d[i] for d in drawn], n) for i, v in enumerate(values)]
    if metric.unit == "%":
        found = [_no_surer(i, n, least) for i, least in zip(found, (0, 0, -1), strict=True)]
    return Comparison(*found)


def _no_surer(interval: Interval, samples: int, least: float) -> Interval:
    """An interval of a share (from ``least`` to 1), no narrower than samples that all agree allow.

    Where all samples agree, so do all resamples, and a bootstrap would be certain after ten.
    """
    value, low, high = interval
    if low is None or high is None:
        return interval
    half = Z * math.sqrt(2) / (samples + 2)
    return Interval(value, max(least, min(low, value - half)), min(1.0, max(high, value + half)))


def _percentiles(value: float, drawn: list[float], samples: int) -> Interval:
    """The interval of the resampled values; none for fewer than two samples or mostly failed draws."""
    if samples < 2 or len(drawn) < 100:
        return Interval(value, None, None)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))
