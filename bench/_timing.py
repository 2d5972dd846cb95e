"""How much faster one ONNX file is than another: interleaved, in process CPU time, one thread."""

import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

Sample = np.ndarray | tuple[np.ndarray, ...]
"""A network's input, or its inputs in the order of the file."""
BURST_SECONDS = 0.01
WARM_UP = 20
SITTINGS = 9


@dataclass(frozen=True)
class Timing:
    """One file against the reference. seconds: median CPU time of one call. ratio: of reference ÷
    this file, taken within a round; the median over the sittings of their medians. low, high: the
    second lowest and second highest sitting, a 96 % interval of that median for nine sittings."""

    seconds: float
    ratio: float
    low: float
    high: float
    rounds: int

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def session(path: Path) -> ort.InferenceSession:
    """The file on the CPU, one thread, quiet."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compare(
    files: Mapping[str, Path], reference: str, sample: Sample, rounds: int = 20
) -> dict[str, Timing]:
    """Time every file against ``reference`` on one sample (batch 1): nine sittings of ``rounds``.

    Each round runs a burst of every file in a shuffled order, so that whatever else the machine
    does in that moment weighs on all alike. Each sitting loads the files afresh, for where the
    runtime happens to put its buffers moves a file's time by a percent or two.
    """
    shuffle = random.Random(0)
    sittings = [_sitting(files, sample, rounds, shuffle) for _ in range(SITTINGS)]
    return {
        name: _timing([s[name] for s in sittings], [s[reference] for s in sittings])
        for name in files
    }


def faster(files: Mapping[str, Path], sample: Sample, rounds: int = 6) -> str:
    """The name of the fastest file: what an honest comparison takes as its reference."""
    found = compare(files, next(iter(files)), sample, rounds)
    return max(found, key=lambda name: found[name].ratio)


def outputs(path: Path, inputs: Sample, batch: int = 100) -> np.ndarray:
    """The file's first output for all inputs; batches of one where the file has a fixed batch of 1."""
    opened = session(path)
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    free = opened.get_inputs()[0].shape[0]
    size = batch if not isinstance(free, int) else free
    found = [
        opened.run(None, feed(opened, tuple(x[i : i + size] for x in given)))[0]
        for i in range(0, len(given[0]), size)
    ]
    return np.concatenate(found)


def feed(opened: ort.InferenceSession, sample: Sample) -> dict[str, np.ndarray]:
    """The inputs by their names in the file."""
    given = sample if isinstance(sample, tuple) else (sample,)
    return {i.name: x for i, x in zip(opened.get_inputs(), given, strict=True)}


def _sitting(
    files: Mapping[str, Path], sample: Sample, rounds: int, shuffle: random.Random
) -> dict[str, np.ndarray]:
    """Seconds of a call of each file in each round, all freshly loaded."""
    sessions = {name: session(files[name]) for name in shuffle.sample(list(files), len(files))}
    feeds = {name: feed(s, sample) for name, s in sessions.items()}
    calls = {name: _burst(s, feeds[name]) for name, s in sessions.items()}
    spent: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(rounds):
        for name in shuffle.sample(list(files), len(files)):
            spent[name].append(_seconds(sessions[name], feeds[name], calls[name]))
    return {name: np.array(times) for name, times in spent.items()}


def _burst(opened: ort.InferenceSession, feed: dict[str, Any]) -> int:
    """How many calls make a burst long enough for the clock."""
    _seconds(opened, feed, WARM_UP)
    return max(1, round(BURST_SECONDS / _seconds(opened, feed, WARM_UP)))


def _seconds(opened: ort.InferenceSession, feed: dict[str, Any], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        opened.run(None, feed)
    return (time.process_time() - start) / calls


def _timing(times: list[np.ndarray], base: list[np.ndarray]) -> Timing:
    """From the seconds of a file and of the reference, by sitting and round."""
    ratios = sorted(float(np.median(b / t)) for t, b in zip(times, base, strict=True))
    every = np.concatenate(times)
    return Timing(
        float(np.median(every)), ratios[len(ratios) // 2], ratios[1], ratios[-2], len(every)
    )
