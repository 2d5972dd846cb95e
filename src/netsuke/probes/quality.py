"""How good the outputs are, and how much was lost against the original on the same samples."""

from typing import ClassVar, NamedTuple

import numpy as np

from netsuke.core.data import Array, Batch, Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.metric import Metric
from netsuke.core.probe import Probe, Subject
from netsuke.core.statistics import Comparison, Interval, compare
from netsuke.probes._run import first_outputs, threads


class Quality(Probe):
    """Runs subject and baseline over the labelled stream, in the real runtime.

    Evidence: "quality" in the metric's unit, and "drop" against the baseline in points, both with
    95 % intervals. Nothing where there is no labelled stream. Raises NetsukeError for labels the
    outputs have no class for, and for outputs that are NaN. An instance remembers the last baseline's
    scores: in a walk every step is compared with the same original on the same samples.
    """

    name: ClassVar[str] = "quality"

    def __init__(self) -> None:
        self._last: _Scored | None = None

    def measure(
        self, subject: Subject, baseline: Subject, stream: Stream | None, goal: Goal
    ) -> tuple[Evidence, ...]:
        if stream is None or not stream.labelled:
            return ()
        metric = goal.data.metric
        before, targets = self._baseline(baseline, stream, metric)
        same = subject.artifact.sha256 == baseline.artifact.sha256
        after = before if same else scores(subject, stream, metric)[0]
        found = compare(metric, before, after, targets, goal.seed)
        if same:
            found = found._replace(drop=Interval(0.0, 0.0, 0.0))
        return _evidence(found, metric, stream.field, len(targets))

    def _baseline(self, baseline: Subject, stream: Stream, metric: Metric) -> tuple[Array, Array]:
        last, sha = self._last, baseline.artifact.sha256
        if (
            last is None
            or last.sha256 != sha
            or last.stream is not stream
            or last.metric is not metric
        ):
            last = _Scored(sha, stream, metric, *scores(baseline, stream, metric))
            self._last = last
        return last.scores, last.targets


class _Scored(NamedTuple):
    """What one artifact scored on one stream."""

    sha256: str
    stream: Stream
    metric: Metric
    scores: Array
    targets: Array


def scores(subject: Subject, stream: Stream, metric: Metric) -> tuple[Array, Array]:
    """(scores per sample where the metric has them, else the outputs; the targets)."""
    session = subject.open(threads())
    kept, targets = [], []
    for batch, _, output in first_outputs(session, subject.artifact, stream):
        wanted = _targets(batch, output, metric, stream.field)
        kept.append(metric.each(output, wanted) if metric.each else output)
        targets.append(wanted)
    if not kept:
        raise NetsukeError(f"{stream.field}: there are no samples")
    return np.concatenate(kept), np.concatenate(targets)


def _targets(batch: Batch, output: Array, metric: Metric, field: str) -> Array:
    """The batch's targets, which must be classes of the output where the metric counts classes."""
    if batch.targets is None:
        raise NetsukeError(f"{field}: samples without targets cannot be judged")
    targets = batch.targets
    if metric.unit != "%" or metric.loss != "cross_entropy":
        return targets
    classes = max(2, output.shape[1]) if output.ndim > 1 else 2
    if targets.size != output.size // (output.shape[1] if output.ndim > 1 else 1):
        raise NetsukeError(
            f"{field}: targets of shape {targets.shape} do not name one class for outputs of {output.shape}"
        )
    low, high = targets.min(), targets.max()
    if low < 0 or high >= classes:
        raise NetsukeError(
            f"{field}: labels go from {low} to {high}, but the outputs are classes 0 … {classes - 1}"
        )
    return targets


def _evidence(
    found: Comparison, metric: Metric, field: str, samples: int
) -> tuple[Evidence, Evidence]:
    relative = "" if metric.unit == "%" else ", relative to the original's"
    quality = Evidence(
        what="quality", unit=metric.unit, source="measured", device="local", samples=samples,
        note=f"{metric.name} on {field}", **found.after._asdict(),
    )  # fmt: skip
    drop = Evidence(
        what="drop", unit="pt", source="measured", device="local", samples=samples,
        note=f"{metric.name} on {field}, the same samples before and after{relative}",
        **found.drop._asdict(),
    )  # fmt: skip
    return quality, drop
