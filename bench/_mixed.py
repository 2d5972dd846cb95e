"""Figure 4: bits where they matter, against the same bits everywhere."""

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

UNIFORM = '[[pass]]\nuse = "quantize.static"\nweights = {}\nrounding = "gptq"\n'
MIXED = (
    '[[pass]]\nuse = "quantize.mixed"\ncost = "bits"\nlimit = {}\nrounding = "gptq"\ncurve = 0\n'
)
TRAIN = '[[pass]]\nuse = "quantize.qat"\nepochs = {}\n'
BITS = (2, 3, 4, 6)
AVERAGES = (2.5, 3.0, 3.5, 4.0, 5.0)
EPOCHS = 3


@dataclass(frozen=True)
class Point:
    """right: of every test image. stored: bytes of the stored form."""

    right: np.ndarray
    stored: int

    def to_dict(self) -> dict[str, float]:
        return {"accuracy": float(self.right.mean()), "stored_bytes": self.stored}


def three_bits(bench: Bench) -> Figure:
    """The figure; without any training, and both sides after the same training."""
    test, task = load_test(bench), with_training(bench)
    averages, bits = (AVERAGES, BITS) if not bench.quick else ((3.0,), (3,))
    mixed = {a: _point(bench, MIXED.format(a), task, test) for a in averages}
    uniform = {b: _point(bench, UNIFORM.format(b), task, test) for b in bits}
    training = TRAIN.format(bench.count(EPOCHS, 1))
    trained = {
        "mixed": _point(bench, MIXED.format(3.0) + training, task, test),
        "uniform": _point(bench, UNIFORM.format(3) + training, task, test),
    }
    ahead = gap(mixed[3.0].right, uniform[3].right)
    after = gap(trained["mixed"].right, trained["uniform"].right)
    claims = (
        Claim("above uniform 3 bit, no training", ahead["points"], "pt", "≥", 1.5),
        Claim("its stored bytes ÷ uniform's", mixed[3.0].stored / uniform[3].stored, "", "≤", 1.0),
    )
    details = {
        "ahead": ahead,
        "ahead_after_training": after,
        "epochs": bench.count(EPOCHS, 1),
        "pareto_mixed": {str(a): point.to_dict() for a, point in mixed.items()},
        "pareto_uniform": {str(b): point.to_dict() for b, point in uniform.items()},
        "trained": {name: point.to_dict() for name, point in trained.items()},
    }
    note = f"after {bench.count(EPOCHS, 1)} epochs of the same training: {after['points']:+.2f} pt"
    return Figure("three bits on average", claims, len(test[1]), details, (note,))


def _point(bench: Bench, recipe: str, task: "Task", test: tuple[np.ndarray, np.ndarray]) -> Point:
    from netsuke.packer import packed

    say(" ".join(recipe.split()))
    made = apply(bench, network(bench), (recipe, task), "mixed")
    return Point(outputs(made.path, test[0]).argmax(1) == test[1], packed(made.path).size)
