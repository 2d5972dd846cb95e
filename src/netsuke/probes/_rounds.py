"""Two artifacts timed in turns: rounds of a few calls each, in sittings with both freshly loaded."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsuke.core.artifact import Artifact
from netsuke.core.data import Array, Stream
from netsuke.core.feed import example, feed
from netsuke.core.probe import Subject
from netsuke.probes._core import speed, switches

Times = NDArray[np.float64]
Call = Callable[[], object]

SITTINGS, FEWEST = 9, 6
# A block of calls lasts about this long: long enough to warm the caches, short enough to take turns.
BLOCK_SECONDS, BLOCK_CALLS = 4e-3, 50
# A core slower than this share of its best is busy with something else besides.
FULL_SPEED = 0.8


class Block(NamedTuple):
    """A few calls in a row. times: (wall, CPU) seconds, one row a call. alone: it kept the core."""

    times: Times
    alone: bool


class Round(NamedTuple):
    """A block of each, within milliseconds. speed: of the core, the lower of before and after."""

    subject: Block
    baseline: Block
    speed: float

    @property
    def ratio(self) -> float:
        """CPU time baseline / subject."""
        return float(np.median(self.baseline.times[:, 1]) / np.median(self.subject.times[:, 1]))


Sitting = list[Round]


def sittings(
    subject: Subject, baseline: Subject, stream: Stream | None, seconds: float
) -> list[Sitting]:
    """Nine sittings, or as many as fit in the time, but six where a single round takes long."""
    start, done = time.perf_counter(), list[Sitting]()
    calls: tuple[Call, Call] | None = None
    while len(done) < FEWEST or (len(done) < SITTINGS and time.perf_counter() - start < seconds):
        opening = time.perf_counter()
        # Loading takes turns too: what is loaded second finds another heap.
        calls = calls or _load(subject, baseline, stream, swap=len(done) % 2 == 1)
        slow = time.perf_counter() - opening > seconds / SITTINGS
        done.append(_sitting(*calls, seconds / SITTINGS))
        calls = calls if slow else None
    return done


def undisturbed(done: list[Sitting]) -> list[Sitting]:
    """The rounds in which the core ran at full speed and neither block was sent off it."""
    best = float(np.quantile([r.speed for s in done for r in s], 0.95))
    return [
        [
            r
            for r in sitting
            if r.subject.alone and r.baseline.alone and r.speed >= FULL_SPEED * best
        ]
        for sitting in done
    ]


def _load(
    subject: Subject, baseline: Subject, stream: Stream | None, swap: bool
) -> tuple[Call, Call]:
    """One call of each, loaded and warmed up."""
    first, second = (baseline, subject) if swap else (subject, baseline)
    loaded = [_call(first, stream), _call(second, stream)]
    for call in loaded:
        call()
        call()
    return (loaded[1], loaded[0]) if swap else (loaded[0], loaded[1])


def _call(subject: Subject, stream: Stream | None) -> Call:
    session, inputs = subject.open(1), _one_sample(subject.artifact, stream)
    return lambda: session.run(inputs)


def _one_sample(artifact: Artifact, stream: Stream | None) -> tuple[Array, ...]:
    """A real sample where there is one: zeros and denormals can take other times than data do."""
    if stream is None:
        return example(artifact)
    batch = next(stream.batches(1))
    return tuple(a[:1] for a in feed(batch, artifact, stream.field))


def _sitting(subject: Call, baseline: Call, seconds: float) -> Sitting:
    """Rounds of A B and B A in turn until the time is over; at least one."""
    length = max(float(np.median(_block(c, 3).times[:, 1])) for c in (subject, baseline))
    count = int(min(max(BLOCK_SECONDS / max(length, 1e-6), 1), BLOCK_CALLS))
    rounds: Sitting = []
    end, before = time.perf_counter() + seconds, speed()
    while not rounds or time.perf_counter() < end:
        if len(rounds) % 2:
            b, a = _block(baseline, count), _block(subject, count)
        else:
            a, b = _block(subject, count), _block(baseline, count)
        after = speed()
        rounds.append(Round(a, b, min(before, after)))
        before = after
    return rounds


def _block(call: Call, count: int) -> Block:
    """``count`` calls in a row, after one that refills the caches."""
    if count > 1:
        call()
    taken = np.empty((count, 2))
    before = switches()
    for row in taken:
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        call()
        row[1] = time.process_time_ns() - cpu
        row[0] = time.perf_counter_ns() - wall
    after = switches()
    wall, cpu = taken.sum(0)
    alone = after == before if after is not None else bool(cpu > 0.9 * wall)
    return Block(taken / 1e9, alone)
