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
# A block of calls lasts about this long, or one call: shorter than what a scheduler gives a program
# at a time, so that some blocks are whole even where others want the core too.
BLOCK_SECONDS, BLOCK_CALLS = 1.5e-3, 50
# A call longer than this brings its own data into the caches; a shorter one has a call before it.
WARM_SECONDS = 10e-3
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
    """The rounds in which the core ran at full speed and the subject's block was not sent off it."""
    best = float(np.quantile([r.speed for s in done for r in s], 0.95))
    return [[r for r in s if r.subject.alone and r.speed >= FULL_SPEED * best] for s in done]


def ratio(sitting: Sitting) -> float:
    """CPU time baseline / subject, by the tenth percentile of each one's calls.

    What else runs can only add to a call's CPU time (caches, the other half of the core), and adds
    to one network more than to another; the fastest calls are those it left alone. With six other
    programs on two cores, two copies of one network came out within 0.6 % of each other in 14 of 14
    measurements (median of nine sittings), and within 1.9 % by medians of rounds.
    """
    fast = [
        np.quantile(np.concatenate([block.times[:, 1] for block in blocks]), 0.1)
        for blocks in ([r.baseline for r in sitting], [r.subject for r in sitting])
    ]
    return float(fast[0] / fast[1])


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
    length = max(_length(subject), _length(baseline))
    count = int(min(max(BLOCK_SECONDS / max(length, 1e-6), 1), BLOCK_CALLS))
    warm = length < WARM_SECONDS
    rounds: Sitting = []
    end, before = time.perf_counter() + seconds, speed()
    while not rounds or time.perf_counter() < end:
        if len(rounds) % 2:
            b, a = _block(baseline, count, warm), _block(subject, count, warm)
        else:
            a, b = _block(subject, count, warm), _block(baseline, count, warm)
        after = speed()
        rounds.append(Round(a, b, min(before, after)))
        before = after
    return rounds


def _length(call: Call) -> float:
    """CPU seconds of a call, about; the best of three where it is short."""
    first = _block(call, 1, warm=False).times[0, 1]
    return float(first if first > BLOCK_SECONDS else min(first, *_block(call, 2).times[:, 1]))


def _block(call: Call, count: int, warm: bool = True) -> Block:
    """``count`` calls in a row, after one that refills the caches."""
    if warm:
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
