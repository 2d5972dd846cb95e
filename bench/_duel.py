"""Figure 3: ``prune.channels`` against Torch-Pruning, both as fast, both retrained alike."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from bench._data import SHORT, VALIDATE, load_test, load_train
from bench._export import torch_onnx
from bench._harness import Bench, Claim, Figure, say
from bench._loop import Loop, right, train
from bench._pruned import IMPORTANCES, Pruned, as_fast, cuts, variants
from bench._setup import RESNET20, fastest_fp32, network, with_training
from bench._timing import Timing, compare

if TYPE_CHECKING:
    from netsuke import Task
    from netsuke.passes.prune.prices import Cost

SPEEDUP = 1.6
FAIR = (
    "Torch-Pruning got its slice-and-pad shortcuts as modules it can cut (its customized_pruners), run as "
    "1×1 convolutions; of its variants (scope, rounding, steps), each pruned until measured as fast, the one best "
    "on the validation images after the same retraining stands for an importance"
)
MORE = (0.385, 0.395, 0.405)
SEEDS = (0, 1, 2)
ROUNDS = 40


@dataclass(frozen=True)
class Side:
    """A pruned network: make it afresh (untrained), its file, how it came about."""

    make: Callable[[], nn.Module]
    file: Path
    how: str


@dataclass(frozen=True)
class Arena:
    """What all sides share: the short training set, and what is judged on."""

    short: tuple[np.ndarray, np.ndarray]
    validate: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    loop: Loop

    def right(self, side: Side, seed: int, on: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """For every image, whether it is right after the short retraining."""
        return right(train(side.make(), *self.short, seed, self.loop), *on)

    def score(self, side: Side, seed: int, on: tuple[np.ndarray, np.ndarray]) -> float:
        """Accuracy after the short retraining."""
        return float(self.right(side, seed, on).mean())


def arena_of(bench: Bench) -> Arena:
    """3,000 images to retrain on for two epochs, the validation images, the test images."""
    images = load_train(bench)
    short = slice(SHORT.start, SHORT.start + bench.count(3000, 200))
    loop = Loop(epochs=bench.count(2, 1))
    return Arena(images.part(short), images.part(VALIDATE), load_test(bench), loop)


def duel(bench: Bench) -> Figure:
    """Both sides pruned to 1/1.6 of the time, retrained, judged on the test images."""
    arena = arena_of(bench)
    sample = arena.test[0][:1]
    reference, ours = carve(bench, sample)
    folder = bench.folder("torch_pruning")
    made, notes = cuts(variants(bench.quick), request_of(bench, arena, folder), folder)
    tried = strongest(
        arena, [as_fast(cut, SPEEDUP, reference, sample, folder) for cut in made], folder
    )
    rivals = best_of(tried, folder)
    sides = {"Netsuke": ours, **rivals}
    files = {name: side.file for name, side in sides.items()} | {"FP32": reference}
    times = compare(files, "FP32", sample, bench.count(ROUNDS, 2))
    seeds = SEEDS[: bench.count(3, 1)]
    scores = {
        side: [arena.score(s, seed, arena.test) for seed in seeds] for side, s in sides.items()
    }
    details = {
        "sides": {side: _facts(s, times[side], scores[side]) for side, s in sides.items()},
        "torch_pruning_variants": [one.to_dict("speedup") for one in tried],
        "loop": vars(arena.loop) | {"images": len(arena.short[1]), "seeds": len(seeds)},
    }
    count = len(arena.test[1])
    return Figure("pruning alone, as fast", _claims(times, scores), count, details, (*notes, FAIR))


def _claims(times: dict[str, Timing], scores: dict[str, list[float]]) -> tuple[Claim, ...]:
    ours = mean(scores["Netsuke"])
    above = {
        m: 100 * (ours - mean(scores[m])) if m in scores else None for m in IMPORTANCES.values()
    }
    return (
        *(
            Claim(f"above Torch-Pruning, {m}", points, "pt", ">", 0.0)
            for m, points in above.items()
        ),
        Claim("faster than FP32", times["Netsuke"].ratio, "x", "≥", SPEEDUP),
    )


def carve(bench: Bench, sample: np.ndarray) -> tuple[Path, Side]:
    """(the FP32 file to beat, Netsuke's pruned network): the pass alone, no retraining.

    Like its rivals it is pruned until it is measured as fast: a little more is asked for where the
    pass, which lets its clock be wrong by a few percent, stopped short.
    """
    task = with_training(bench, SHORT)
    name, floats = fastest_fp32(bench, _original(bench, task), sample)
    reference = floats[name]
    for ratio in (1 - 1 / SPEEDUP, *MORE):
        side = carved(bench, task, ratio)
        speedup = compare(
            {"fp32": reference, "carved": side.file}, "fp32", sample, bench.count(10, 2)
        )["carved"].ratio
        say(f"  Netsuke: ratio {ratio:.3f} is {speedup:.2f}× as fast; {side.how}")
        if speedup >= SPEEDUP:
            break
    return reference, side


def carved(bench: Bench, task: Task, ratio: float, cost: Cost = "seconds") -> Side:
    """Netsuke's pruned network with ``ratio`` of the cost gone: the pass alone, no retraining."""
    from netsuke import Recipe, walk
    from netsuke.core.recipe import make_pass
    from netsuke.nets.graph import clone

    wanted = make_pass("prune.channels", {"ratio": ratio, "cost": cost, "epochs": 0})
    trials = walk(network(bench), Recipe(wanted), task)
    state = next(trials).state
    if state is None:
        raise RuntimeError("prune.channels refused ResNet-20")
    # The walk's own files go when it does.
    kept = bench.folder("carved") / f"netsuke-{cost}-{ratio:.3f}.onnx"
    file = Path(shutil.copy(state.artifact.path, kept))
    summary, pruned = state.model.lineage[-1].summary, state.model.network
    return Side(lambda: clone(pruned), file, f"{summary}; ratio {ratio:.3f}")


def _original(bench: Bench, task: Task) -> Path:
    """Netsuke's FP32 export of the original."""
    from netsuke import Budget
    from netsuke.core.observer import Observer
    from netsuke.intake import take_goal, take_model
    from netsuke.runtimes.onnxruntime import OnnxRuntime

    goal = take_goal(task, "local", Budget(), 0, Observer())
    model = take_model(network(bench), goal.data, "resnet20")
    return OnnxRuntime().export(model, goal.device, bench.folder("carved") / "fp32.onnx").path


def request_of(bench: Bench, arena: Arena, folder: Path) -> dict[str, str]:
    """What rivals are asked with: the original, the short training images, the validation images, as files."""
    arrays = dict(zip(("images", "classes"), arena.short, strict=True))
    scored = (part[: bench.count(2000, 100)] for part in arena.validate)
    arrays |= dict(zip(("scored_images", "scored_classes"), scored, strict=True))
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    files = {name: str(folder / f"{name}.npy") for name in arrays}
    return {"state": str(bench.file(RESNET20)), **files}


@dataclass(frozen=True)
class Tried:
    """A rival's network and its accuracy on the validation images after the short retraining."""

    pruned: Pruned
    score: float

    def to_dict(self, found: str) -> dict[str, Any]:
        """found: what the network was taken for."""
        one = self.pruned
        return {"variant": str(one.variant), "ratio": one.ratio, found: one.found, "validate": self.score}  # fmt: skip


def strongest(arena: Arena, found: Sequence[Pruned | None], folder: Path) -> list[Tried]:
    """Every network there is, the best on the validation images first."""
    tried = []
    for pruned in found:
        if pruned is not None:
            score = arena.score(_side(pruned, folder), SEEDS[0], arena.validate)
            say(f"  {pruned.variant}: {100 * score:.1f} % on the validation images")
            tried.append(Tried(pruned, score))
    return sorted(tried, key=lambda one: one.score, reverse=True)


def best_of(tried: list[Tried], folder: Path) -> dict[str, Side]:
    """By what the variants stand for, the first of them."""
    first = {one.pruned.variant.title: one.pruned for one in reversed(tried)}
    return {title: _side(pruned, folder) for title, pruned in first.items()}


def _side(pruned: Pruned, folder: Path) -> Side:
    return Side(
        pruned.net, torch_onnx(pruned.net(), folder), f"{pruned.variant}; ratio {pruned.ratio}"
    )


def _facts(side: Side, timing: Timing, scores: list[float]) -> dict[str, Any]:
    return {
        "how": side.how,
        **timing.to_dict(),
        "accuracy": scores,
        "mean": mean(scores),
        "bytes": side.file.stat().st_size,
    }
