"""Figure 4: bits where they matter, against the same bits everywhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench._apply import apply
from bench._contest import gap
from bench._data import load_test
from bench._harness import Bench, Claim, Figure, say
from bench._setup import network, with_training
from bench._timing import outputs

if TYPE_CHECKING:
    from netsuke.core.task import Task

UNIFORM = '[[pass]]\nuse = "quantize.static"\nweights = {}\nrounding = "{}"\n'
MIXED = '[[pass]]\nuse = "quantize.mixed"\ncost = "bits"\nlimit = {}\nrounding = "{}"\ncurve = 0\n'
TRAIN = '[[pass]]\nuse = "quantize.qat"\nepochs = {}\n'
BITS = (2, 3, 4, 6)
AVERAGES = (2.5, 3.0, 3.5, 4.0, 5.0)
ASKED = (3.0, 2.98, 2.96, 2.94, 2.92)
"""Averages tried in turn until the stored form, entropy-coded, is no larger than with 3 bits everywhere."""
EPOCHS = 3


@dataclass(frozen=True)
class Point:
    """right: of every test image. stored: bytes of the stored form."""

    right: np.ndarray
    stored: int

    def to_dict(self) -> dict[str, float]:
        return {"accuracy": float(self.right.mean()), "stored_bytes": self.stored}


def three_bits(bench: Bench) -> Figure:
    """The figure: weights rounded to the nearest, then by GPTQ, then trained, each time both sides."""
    test, task = load_test(bench), with_training(bench)
    averages, bits = (AVERAGES, BITS) if not bench.quick else ((3.0,), (3,))

    def point(recipe: str) -> Point:
        return _point(bench, recipe, task, test)

    mixed = {a: point(MIXED.format(a, "nearest")) for a in averages}
    uniform = {b: point(UNIFORM.format(b, "nearest")) for b in bits}
    found = {rounding: _pair(point, rounding) for rounding in ("nearest", "gptq")}
    training = TRAIN.format(bench.count(EPOCHS, 1))
    found["trained"] = _pair(point, "nearest", training, found["nearest"][2:])
    pairs = {name: (one, other) for name, (one, other, _) in found.items()}
    ahead = {name: gap(one.right, other.right) for name, (one, other) in pairs.items()}
    shares = {name: one.stored / other.stored for name, (one, other) in pairs.items()}
    claims = (
        Claim(
            "above uniform 3 bit, both to the nearest", ahead["nearest"]["points"], "pt", "≥", 1.5
        ),
        Claim("its stored bytes ÷ uniform's", shares["nearest"], "", "≤", 1.0),
    )
    details = {
        "ahead": ahead, "bytes_share": shares, "epochs": bench.count(EPOCHS, 1),
        "asked": {name: average for name, (*_, average) in found.items()},
        "pairs": {n: [point.to_dict() for point in pair] for n, pair in pairs.items()},
        "pareto_mixed": {str(a): point.to_dict() for a, point in mixed.items()},
        "pareto_uniform": {str(b): point.to_dict() for b, point in uniform.items()},
    }  # fmt: skip
    notes = tuple(
        f"{name}: {100 * pairs[name][0].right.mean():.2f} % mixed, {ahead[name]['points']:+.2f} pt above uniform"
        f" (95 %: {ahead[name]['low']:+.2f} … {ahead[name]['high']:+.2f})"
        for name in pairs
    )
    return Figure("three bits on average", claims, len(test[1]), details, notes)


def _pair(
    point: Callable[[str], Point], rounding: str, more: str = "", asked: tuple[float, ...] = ASKED
) -> tuple[Point, Point, float]:
    """Mixed, uniform, and the first average at which the former is no larger, or the last."""
    other = point(UNIFORM.format(3, rounding) + more)
    for average in asked:
        one = point(MIXED.format(average, rounding) + more)
        if one.stored <= other.stored:
            break
    return one, other, average


def _point(bench: Bench, recipe: str, task: "Task", test: tuple[np.ndarray, np.ndarray]) -> Point:
    from netsuke.packer import packed

    say(" ".join(recipe.split()))
    made = apply(bench, network(bench), (recipe, task), "mixed")
    return Point(outputs(made.path, test[0]).argmax(1) == test[1], packed(made.path).size)
