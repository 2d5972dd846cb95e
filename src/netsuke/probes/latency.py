"""How long a call takes, beside the baseline: batch 1, one thread, one core.

What makes the figures hold on a machine that does other things too:

- subject and baseline take turns within milliseconds, so that a slow moment slows both;
- there are several sittings, each with both artifacts freshly loaded, because where a runtime
  happens to put its buffers moves the time of a call by a percent or two. What is claimed rests on
  how much sittings differ;
- ratios are of process CPU time, which does not count the time others had the core, and of the
  fastest tenth of the calls, which others slowed least;
- for wall-clock times, blocks of calls are left out in which the thread was sent off its core, or
  the core was slower than it can be (another program on its other half). What tells them is never
  the time of a call itself, so slow calls of the model's own are kept;
- where hardly a block is left, wall-clock times are refused: they would tell of the machine.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from netsuke.core.data import Stream
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.probe import Probe, Subject
from netsuke.core.statistics import Interval, median, quantile
from netsuke.probes._core import pinned
from netsuke.probes._rounds import Sitting, ratio, sittings, undisturbed

# Undisturbed blocks that wall-clock times need (half of all, where a model is slow and blocks few).
FEWEST_BLOCKS = 20


@dataclass(frozen=True)
class Latency(Probe):
    """ "latency_p50" and "latency_p95" (wall), "cpu_p50" (process CPU time a call) and, where the
    baseline is another file, "speedup" (CPU time baseline / subject), all with 95 % intervals.

    When the machine is too busy, wall-clock times are left out and the note of "cpu_p50" says so.
    seconds: about how long it takes, twice that on a busy machine; a model whose call is long takes
    six rounds, however long they are.
    """

    name: ClassVar[str] = "latency"
    there: ClassVar[bool] = True

    seconds: float = 3.0

    def measure(
        self, subject: Subject, baseline: Subject, stream: Stream | None, goal: Goal
    ) -> tuple[Evidence, ...]:
        with pinned():
            done = sittings(subject, baseline, stream, self.seconds)
            if not _enough(done):
                done += sittings(subject, baseline, stream, self.seconds)
        found = _times(done, goal.seed)
        if subject.artifact.sha256 != baseline.artifact.sha256:
            found.append(_speedup(done))
        return tuple(found)


def _count(given: list[Sitting]) -> int:
    return sum(map(len, given))


def _enough(done: list[Sitting]) -> bool:
    """Whether wall-clock times tell of the model."""
    return _count(undisturbed(done)) >= min(FEWEST_BLOCKS, _count(done) / 2)


def _times(done: list[Sitting], seed: int) -> list[Evidence]:
    """The subject's own times; wall-clock ones only where enough of its blocks were undisturbed."""
    kept = [s for s in undisturbed(done) if s]
    share = f"{_count(kept)} of {_count(done)} blocks were undisturbed"
    if not _enough(done):
        note = f"wall-clock latency refused: the machine is too busy ({share})"
        return [_evidence("cpu_p50", *_quantile(done, 1, 0.5, seed), "s", note)]
    return [
        _evidence("latency_p50", *_quantile(kept, 0, 0.5, seed), "s", f"wall clock; {share}"),
        _evidence("latency_p95", *_quantile(kept, 0, 0.95, seed), "s", f"wall clock; {share}"),
        _evidence("cpu_p50", *_quantile(kept, 1, 0.5, seed), "s", share),
    ]


def _quantile(given: list[Sitting], clock: int, share: float, seed: int) -> tuple[Interval, int]:
    """A quantile of the subject's calls and their number; clock: 0 wall, 1 CPU."""
    groups = [np.concatenate([r.subject.times[:, clock] for r in s]) for s in given]
    return quantile(groups, share, seed), sum(map(len, groups))


def _speedup(done: list[Sitting]) -> Evidence:
    """The median of the sittings' ratios."""
    note = "CPU time of the one compared with / its own"
    return _evidence("speedup", median([ratio(s) for s in done]), _count(done), "x", note)


def _evidence(what: str, value: Interval, samples: int, unit: str, note: str) -> Evidence:
    return Evidence(
        what=what, unit=unit, source="measured", device="local", samples=samples, note=note,
        **value._asdict(),
    )  # fmt: skip
