"""Several ONNX files of one task side by side: time, size and accuracy, in one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench._timing import Timing, compare, outputs


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
    files: Mapping[str, Path], reference: str, images: tuple[np.ndarray, np.ndarray], rounds: int
) -> dict[str, Entry]:
    """Every file on every image, and its time against the reference's on the first."""
    x, y = images
    times = compare(files, reference, x[:1], rounds)
    return {
        name: Entry(path, times[name], outputs(path, x).argmax(1) == y)
        for name, path in files.items()
    }


def below(reference: Entry, entry: Entry) -> dict[str, float]:
    """How far ``entry`` is below in points, with the 95 % interval over the same images."""
    apart = 100 * (reference.right.astype(float) - entry.right)
    reach = 1.96 * float(apart.std(ddof=1)) / np.sqrt(len(apart))
    return {
        "points": float(apart.mean()),
        "low": float(apart.mean() - reach),
        "high": float(apart.mean() + reach),
    }
