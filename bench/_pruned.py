"""Torch-Pruning pruned until it is as fast as wanted, measured: what figure 3 compares with."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from bench._export import torch_onnx
from bench._harness import say
from bench._resnet import ResNet, from_state
from bench._rivals import rival
from bench._timing import compare

RATIOS = [round(0.05 + 0.0125 * i, 4) for i in range(64)]
IMPORTANCES = ("magnitude", "taylor")
WAYS: tuple[tuple[str, int | None, bool], ...] = (
    ("global", None, False),
    ("global", 8, True),
    ("global", 16, False),
    ("global", 16, True),
    ("uniform", 16, False),
    ("inner", 8, False),
    ("inner", 8, True),
    ("inner", 16, True),
)
"""(scope, rounding, in steps): its defaults first, then what was found to serve it best."""
ROUNDS = 8


@dataclass(frozen=True)
class Variant:
    """One way a user would call Torch-Pruning.

    scope: importances ranked over all layers ("global"), the same share of each ("uniform"), or
    global with the residual stream left alone ("inner"). iterative: in small steps, which keeps
    rounding from emptying (and so sparing) a layer.
    """

    importance: str
    scope: str
    round_to: int | None
    iterative: bool

    def __str__(self) -> str:
        rounded = f"rounded to {self.round_to}" if self.round_to else "not rounded"
        return ", ".join(
            (self.importance, self.scope, rounded, "in steps" if self.iterative else "at once")
        )


@dataclass(frozen=True)
class Pruned:
    """What it left. speedup: measured while searching, against the reference file."""

    variant: Variant
    ratio: float
    speedup: float
    state: Path

    def net(self) -> ResNet:
        return from_state(load_file(self.state))


def variants(quick: bool) -> list[Variant]:
    """Every variant; one an importance in a rehearsal."""
    return [Variant(i, *way) for i in IMPORTANCES for way in (WAYS[-2:-1] if quick else WAYS)]


def prune_until(
    variant: Variant,
    speedup: float,
    reference: Path,
    sample: np.ndarray,
    request: Mapping[str, Any],
    folder: Path,
) -> Pruned | None:
    """The smallest ratio whose network runs ``speedup`` times as fast as ``reference`` (bisection on
    the ratio, every step measured); None where even the largest is slower.

    request: state, images and classes, as the rival's script takes them.
    """
    home = folder / str(variant).replace(", ", "-").replace(" ", "-")
    home.mkdir(parents=True, exist_ok=True)
    asked = {**request, **asdict(variant), "ratios": RATIOS, "folder": str(home)}
    files = [Path(name) for name in rival("torch_pruning", asked, home)["files"]]
    ratios, states = shrinking(files)

    def measure(index: int) -> float:
        file = torch_onnx(from_state(load_file(states[index])), folder)
        return compare({"reference": reference, "pruned": file}, "reference", sample, ROUNDS)[
            "pruned"
        ].ratio

    index, found = bisect(len(states), speedup, measure)
    if index is None:
        say(f"  {variant}: never {speedup:.2f}× as fast")
        return None
    say(f"  {variant}: ratio {ratios[index]} is {found:.2f}× as fast")
    return Pruned(variant, ratios[index], found, states[index])


def shrinking(files: list[Path]) -> tuple[list[float], list[Path]]:
    """The (ratios, states) smaller than every one before. A ratio may change nothing where widths are
    rounded, and where rounding would empty a layer Torch-Pruning leaves its whole group uncut."""
    ratios, states, least = [], [], float("inf")
    for ratio, file in zip(RATIOS, files, strict=True):
        size = sum(value.numel() for value in load_file(file).values())
        if size < least:
            ratios.append(ratio)
            states.append(file)
            least = size
    return ratios, states


def bisect(count: int, target: float, measure: Any) -> tuple[int | None, float]:
    """The first index in 0 … count-1 whose measure reaches target, taking it to rise, and its measure;
    (None, the last measure) where the last one does not reach it."""
    low, high, best = -1, count - 1, measure(count - 1)
    if best < target:
        return None, best
    while high - low > 1:
        middle = (low + high) // 2
        found = measure(middle)
        if found >= target:
            high, best = middle, found
        else:
            low = middle
    return high, best
