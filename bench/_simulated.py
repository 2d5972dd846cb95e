"""Rivals that give no file that runs: AIMET and Brevitas simulate integers in torch, in environments
of their own. They get the same weights, the same 500 images and the same test images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench._data import CALIBRATE, load_train
from bench._harness import Bench, say
from bench._rivals import RivalFailedError, RivalMissingError, rival
from bench._setup import RESNET20

ROUNDINGS = (200,)
"""AdaRound's iterations a layer; its default, 15,000 below 8 bits, takes hours on a processor, and 1,000 some
minutes, many times what the others are given."""


@dataclass(frozen=True)
class Simulated:
    """What one rival reached. right: for every image, whether its class was found."""

    right: np.ndarray
    seconds: float
    cpu_seconds: float

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    def to_dict(self) -> dict[str, float]:
        return {
            "accuracy": self.accuracy,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }


def simulated(
    bench: Bench, weights: int, test: tuple[np.ndarray, np.ndarray]
) -> tuple[dict[str, Simulated], list[str]]:
    """Each variant of each rival at so many bits of weights and 8 of activations, and notes on those
    that are missing."""
    folder, notes, found = bench.folder("simulated"), list[str](), dict[str, Simulated]()
    x, y = test
    np.save(folder / "images.npy", load_train(bench).part(CALIBRATE)[0])
    np.save(folder / "test.npy", x)
    common = {
        "state": str(bench.file(RESNET20)),
        "images": str(folder / "images.npy"),
        "test": str(folder / "test.npy"),
        "output": str(folder / "classes.npy"),
        "folder": str(folder),
        "weights": weights,
    }
    for label, (name, settings) in _variants(bench, weights).items():
        say(f"{label}, W{weights}A8")
        try:
            reply = rival(name, {**common, **settings}, folder)
        except (RivalMissingError, RivalFailedError) as error:
            notes.append(f"{label}: {error}")
            continue
        right = np.load(common["output"]) == y
        key = f"{label} ({reply['version']})"
        found[key] = Simulated(right, reply["seconds"], reply["cpu_seconds"])
    return found, notes


def _variants(bench: Bench, weights: int) -> Mapping[str, tuple[str, dict[str, Any]]]:
    """Name → (rival, settings). Below 8 bits by their best methods, else as they come."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    roundings = (0,) if weights == 8 else ROUNDINGS[: bench.count(len(ROUNDINGS), 1)]
    for count in roundings:
        for equalize in (False, True):
            how = f"AdaRound {count}" if count else "nearest"
            label = f"AIMET {how}{', equalized' if equalize else ''}"
            given = bench.count(count, min(count, 10))
            found[label] = ("aimet", {"adaround": given, "equalize": equalize})
    for kind in ("mse", "stats"):
        label = f"Brevitas {'GPTQ' if weights < 8 else 'nearest'}, {kind}"
        found[label] = ("brevitas", {"gptq": weights < 8, "range": kind})
    return found
