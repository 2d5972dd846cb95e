"""Several ONNX files of one task side by side: time, size and accuracy, in one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench._harness import say
from bench._timing import Sample, Timing, compare, outputs


@dataclass(frozen=True)
class Entry:
    """What one file reached. right: for every image, whether its class was found."""

    path: Path
    timing: Timing
    right: np.ndarray

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    def to_dict(self) -> dict[str, Any]:
        return {"accuracy": self.accuracy, "bytes": self.size, **self.timing.to_dict()}


def contest(
    files: Mapping[str, Path],
    reference: str,
    images: tuple[Sample, np.ndarray],
    rounds: int,
    batch: int = 100,
) -> dict[str, Entry]:
    """Every file on every image, in batches, and its time against the reference's on the first."""
    x, y = images
    first = tuple(part[:1] for part in x) if isinstance(x, tuple) else x[:1]
    say("timing: " + ", ".join(files))
    times = compare(files, reference, first, rounds)
    say("timed")
    return {
        name: Entry(path, times[name], outputs(path, x, batch).argmax(1) == y)
        for name, path in files.items()
    }


def below(reference: Entry, entry: Entry) -> dict[str, float]:
    """How far ``entry`` is below in points, with the 95 % interval over the same images."""
    return gap(reference.right, entry.right)


def gap(reference: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """The same of two lists of what was right."""
    apart = 100 * (reference.astype(float) - right)
    reach = 1.96 * float(apart.std(ddof=1)) / np.sqrt(len(apart))
    return {
        "points": float(apart.mean()),
        "low": float(apart.mean() - reach),
        "high": float(apart.mean() + reach),
    }
