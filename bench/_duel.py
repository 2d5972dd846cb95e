"""Figure 3: ``prune.channels`` against Torch-Pruning, both as fast, both retrained alike."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from bench._data import SHORT, VALIDATE, load_test, load_train
from bench._export import torch_onnx
from bench._harness import Bench, Claim, Figure, say
from bench._loop import Loop, accuracy, train
from bench._pruned import Pruned, prune_until, variants
from bench._rivals import RivalFailedError, RivalMissingError
from bench._setup import RESNET20, fastest_fp32, network, with_training
from bench._timing import Timing, compare

if TYPE_CHECKING:
    from netsuke import Task

SPEEDUP = 1.6
FAIR = (
    "Torch-Pruning got its slice-and-pad shortcuts as modules it can cut (its customized_pruners), run as "
    "1×1 convolutions; of its variants (scope, rounding, steps), each pruned until measured as fast, the one best "
    "on the validation images after the same retraining stands for an importance"
)
MORE = (0.385, 0.395, 0.405)
SEEDS = (0, 1, 2)
ROUNDS = 40
MODES = {"magnitude": "group magnitude", "taylor": "group Taylor"}


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

    def score(self, side: Side, seed: int, on: tuple[np.ndarray, np.ndarray]) -> float:
        """Accuracy after the short retraining."""
        return accuracy(train(side.make(), *self.short, seed, self.loop), *on)


def duel(bench: Bench) -> Figure:
    """Both sides pruned to 1/1.6 of the time, retrained, judged on the test images."""
    images = load_train(bench)
    short = slice(SHORT.start, SHORT.start + bench.count(3000, 200))
    arena = Arena(
        images.part(short),
        images.part(VALIDATE),
        load_test(bench),
        Loop(epochs=bench.count(2, 1)),
    )
    reference, ours = carve(bench, arena.test[0][:1])
    rivals, notes, searched = strongest(bench, arena, reference)
    sides = {"Netsuke": ours, **rivals}
    files = {name: side.file for name, side in sides.items()} | {"FP32": reference}
    times = compare(files, "FP32", arena.test[0][:1], bench.count(ROUNDS, 2))
    seeds = SEEDS[: bench.count(3, 1)]
    scores = {
        side: [arena.score(s, seed, arena.test) for seed in seeds] for side, s in sides.items()
    }
    details = {
        "sides": {side: _facts(s, times[side], scores[side]) for side, s in sides.items()},
        "torch_pruning_variants": searched,
        "loop": vars(arena.loop) | {"images": len(arena.short[1]), "seeds": len(seeds)},
    }
    return Figure(
        "pruning alone, as fast", _claims(times, scores), len(arena.test[1]), details, tuple(notes)
    )


def _claims(times: dict[str, Timing], scores: dict[str, list[float]]) -> tuple[Claim, ...]:
    ours = mean(scores["Netsuke"])
    above = {m: 100 * (ours - mean(scores[m])) if m in scores else None for m in MODES.values()}
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
        side = _carved(bench, task, ratio)
        speedup = compare(
            {"fp32": reference, "carved": side.file}, "fp32", sample, bench.count(10, 2)
        )["carved"].ratio
        say(f"  Netsuke: ratio {ratio:.3f} is {speedup:.2f}× as fast; {side.how}")
        if speedup >= SPEEDUP:
            break
    return reference, side


def _carved(bench: Bench, task: Task, ratio: float) -> Side:
    from netsuke import Recipe, walk
    from netsuke.core.recipe import make_pass
    from netsuke.nets.graph import clone

    wanted = make_pass("prune.channels", {"ratio": ratio, "cost": "seconds", "epochs": 0})
    trials = walk(network(bench), Recipe(wanted), task)
    state = next(trials).state
    if state is None:
        raise RuntimeError("prune.channels refused ResNet-20")
    # The walk's own files go when it does.
    file = Path(
        shutil.copy(state.artifact.path, bench.folder("carved") / f"netsuke-{ratio:.3f}.onnx")
    )
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


def strongest(
    bench: Bench, arena: Arena, reference: Path
) -> tuple[dict[str, Side], list[str], list[dict[str, Any]]]:
    """Per importance the variant of Torch-Pruning that is best on the validation images after the
    short retraining, among those pruned until they are as fast; notes; every variant tried."""
    folder = bench.folder("torch_pruning")
    np.save(folder / "x.npy", arena.short[0])
    np.save(folder / "y.npy", arena.short[1])
    request = {
        "state": str(bench.file(RESNET20)),
        "images": str(folder / "x.npy"),
        "classes": str(folder / "y.npy"),
    }
    tried: list[tuple[Pruned, float]] = []
    try:
        for variant in variants(bench.quick):
            pruned = prune_until(variant, SPEEDUP, reference, arena.test[0][:1], request, folder)
            if pruned is not None:
                tried.append((pruned, arena.score(_side(pruned, folder), SEEDS[0], arena.validate)))
                say(f"    {100 * tried[-1][1]:.1f} % on the validation images")
    except (RivalMissingError, RivalFailedError) as error:
        return {}, [str(error)], []
    best = {
        title: max(
            (t for t in tried if t[0].variant.importance == kind), key=lambda t: t[1], default=None
        )
        for kind, title in MODES.items()
    }
    sides = {title: _side(t[0], folder) for title, t in best.items() if t}
    return (
        sides,
        [],
        [
            {"variant": str(p.variant), "ratio": p.ratio, "speedup": p.speedup, "validate": s}
            for p, s in tried
        ],
    )


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
