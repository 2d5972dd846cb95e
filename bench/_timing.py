"""How much faster one ONNX file is than another: interleaved, in process CPU time, one thread."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

BURST_SECONDS = 0.02
WARM_UP = 20


@dataclass(frozen=True)
class Timing:
    """One file against the reference. seconds: median CPU time of one call. ratio: median over the
    rounds of reference ÷ this file, in the same round; low and high its 95 % interval."""

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


def compare(files: Mapping[str, Path], reference: str, sample: np.ndarray, rounds: int = 200) -> dict[str, Timing]:
    """Time every file against ``reference`` on one sample (batch 1).

    Each round runs a burst of every file in a shuffled order, so that whatever else the machine
    does in that moment weighs on all alike; the ratio is taken inside the round.
    """
    sessions = {name: session(path) for name, path in files.items()}
    feeds = {name: {s.get_inputs()[0].name: sample} for name, s in sessions.items()}
    calls = {name: _burst(s, feeds[name]) for name, s in sessions.items()}
    spent: dict[str, list[float]] = {name: [] for name in files}
    shuffle = random.Random(0)
    for _ in range(rounds):
        for name in shuffle.sample(list(files), len(files)):
            spent[name].append(_seconds(sessions[name], feeds[name], calls[name]))
    base = np.array(spent[reference])
    return {name: _timing(np.array(times), base) for name, times in spent.items()}


def faster(files: Mapping[str, Path], sample: np.ndarray, rounds: int = 60) -> str:
    """The name of the fastest file: what an honest comparison takes as its reference."""
    found = compare(files, next(iter(files)), sample, rounds)
    return max(found, key=lambda name: found[name].ratio)


def outputs(path: Path, inputs: np.ndarray, batch: int = 100) -> np.ndarray:
    """The file's first output for all inputs; batches of one where the file has a fixed batch of 1."""
    opened = session(path)
    entry = opened.get_inputs()[0]
    size = batch if not isinstance(entry.shape[0], int) else entry.shape[0]
    found = [opened.run(None, {entry.name: inputs[i : i + size]})[0] for i in range(0, len(inputs), size)]
    return np.concatenate(found)


def _burst(opened: ort.InferenceSession, feed: dict[str, Any]) -> int:
    """How many calls make a burst long enough for the clock."""
    _seconds(opened, feed, WARM_UP)
    return max(1, round(BURST_SECONDS / _seconds(opened, feed, WARM_UP)))


def _seconds(opened: ort.InferenceSession, feed: dict[str, Any], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        opened.run(None, feed)
    return (time.process_time() - start) / calls


def _timing(times: np.ndarray, base: np.ndarray) -> Timing:
    ratios = base / times
    low, high = median_interval(ratios)
    return Timing(float(np.median(times)), float(np.median(ratios)), low, high, len(times))


def median_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """95 % interval of the median from order statistics (binomial, normal approximation)."""
    ordered, n = np.sort(values), len(values)
    reach = 0.98 * np.sqrt(n)
    return (
        float(ordered[max(0, int(np.floor(n / 2 - reach)))]),
        float(ordered[min(n - 1, int(np.ceil(n / 2 + reach)))]),
    )
