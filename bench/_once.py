"""Figure 2 of `bench search`: one supernet against networks of the same time that were trained alone, on CIFAR-10."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._contest import gap
from bench._harness import Bench, Claim, Figure, say, timed
from bench._kept import kept_arrays
from bench._setup import VALIDATE, with_training
from bench._timing import compare, outputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from netsuke.core.goal import Goal
    from netsuke.core.model import Model
    from netsuke.core.task import Task

SEEDS = (0,)
ROWS = slice(VALIDATE.stop, VALIDATE.stop + 10_000)
"""Of the training images: so few that more epochs of a small network are not worth more than a good teacher."""
DEPTH = 8
"""The largest network is ResNet-8, the one of MLPerf Tiny for these pictures."""
SCALES = tuple(i / 16 for i in range(4, 17))
"""Of the widths of the largest network."""
SHARES = (0.6, 0.75, 0.9)
"""Of the largest network's time: the budgets. All its widths halved leave a little more than half."""
OVER = 1.03
"""A budget is kept by the clock of the search; timed once more, beside others, a part may take so many times as much."""
TRAINING = {"lr": 0.1, "batch": 64}
WHOLE, PARTS = 60, 15
"""Epochs of the largest network from scratch, and of it as a supernet."""
SPACE = {"lr": 0.15, "batch": 64, "least": 0.5, "depth": 1, "between": 1, "opening": 0.1}
SOON = 60.0


@dataclass(frozen=True)
class Rival:
    """A subnet and the uniformly scaled network beside it. right: by test image. seconds: that finding the subnet
    took. took: its share of the largest network's time. slower: the other's time ÷ the subnet's."""

    ours: np.ndarray
    theirs: np.ndarray
    seconds: float
    took: float
    scale: float
    slower: float
    epochs: float

    def to_dict(self) -> dict[str, Any]:
        return gap(self.theirs, self.ours) | {
            "ours": float(self.ours.mean()), "theirs": float(self.theirs.mean()),
            "seconds": self.seconds, "share of the time": self.took, "scale of the other": self.scale,
            "its time over the subnet's": self.slower, "its epochs": self.epochs,
        }  # fmt: skip

    @property
    def better(self) -> float:
        """Points."""
        return 100 * float(self.ours.mean() - self.theirs.mean())


def once(bench: Bench) -> Figure:
    """Everything from scratch, on the same images."""
    folds = [_kept(bench, seed) for seed in SEEDS]
    rivals = [_together(row) for row in zip(*folds, strict=True)]
    claims = (
        Claim(
            "budgets at which the subnets are better by 0.5 points",
            sum(r.better >= 0.5 for r in rivals),
            "",
            "≥",
            2,
        ),
        Claim(
            "a subnet's time over its budget, at most",
            max(r.took / share for share, r in zip(SHARES, rivals, strict=True)),
            "x",
            "≤",
            OVER,
        ),
        Claim("longest search for a subnet", max(r.seconds for r in rivals), "s", "≤", SOON),
        Claim(
            "the other network's time over the subnet's, at least",
            min(r.slower for r in rivals),
            "x",
            "≥",
            1,
        ),
    )
    notes = tuple(_said(share, r) for share, r in zip(SHARES, rivals, strict=True))
    details = {
        f"{share:g}": [one.to_dict() for one in row]
        for share, row in zip(SHARES, zip(*folds, strict=True), strict=True)
    }
    return Figure("once for all", claims, len(rivals[0].ours), details, notes)


def _kept(bench: Bench, seed: int) -> list[Rival]:
    how = f"once {seed} {ROWS} {SCALES} {SHARES} {DEPTH} {WHOLE} {PARTS} {TRAINING} {SPACE}"
    task = with_training(bench, ROWS)
    kept = kept_arrays(bench, how, lambda: _arrays(_rivals(bench, task, seed)))
    rows = zip(kept["ours"], kept["theirs"], kept["rest"], strict=True)
    return [Rival(ours, theirs, *map(float, rest)) for ours, theirs, rest in rows]


def _arrays(rivals: Sequence[Rival]) -> dict[str, np.ndarray]:
    return {
        "ours": np.stack([r.ours for r in rivals]),
        "theirs": np.stack([r.theirs for r in rivals]),
        "rest": np.array([(r.seconds, r.took, r.scale, r.slower, r.epochs) for r in rivals]),
    }


def _said(share: float, r: Rival) -> str:
    lost = gap(r.theirs, r.ours)
    return (
        f"{100 * share:.0f} % of the time ({100 * r.took:.0f} taken): {100 * r.ours.mean():.2f} against {100 * r.theirs.mean():.2f} % "
        f"({r.better:+.2f} pt, 95 % {-lost['high']:+.2f} … {-lost['low']:+.2f}), scaled to {r.scale:.2f} and trained {r.epochs:.0f} epochs in the mean"
    )


def _together(row: Sequence[Rival]) -> Rival:
    """One budget, over all seeds."""
    return Rival(
        np.concatenate([r.ours for r in row]),
        np.concatenate([r.theirs for r in row]),
        max(r.seconds for r in row),
        max(r.took for r in row),
        float(np.mean([r.scale for r in row])),
        min(r.slower for r in row),
        round(np.mean([r.epochs for r in row])),
    )


def _rivals(bench: Bench, task: Task, seed: int) -> list[Rival]:
    from netsuke.core.budget import Budget
    from netsuke.core.observer import Observer
    from netsuke.intake import take_goal, take_model

    goal = take_goal(task, "local", Budget(), seed, Observer())
    largest = take_model(_drawn(1.0, seed), goal.data, "largest")
    with timed() as spent:
        supernet = _supernet(bench, largest, goal)
    say(f"  seed {seed}: the supernet took {spent.seconds['cpu']:.0f} s of CPU time")
    subnets = [_subnet(bench, supernet, goal, share) for share in SHARES]
    chosen = _as_slow(bench, supernet, [model for model, _ in subnets], goal)
    rivals = []
    for (model, seconds), (share, scale, slower) in zip(subnets, chosen, strict=True):
        alone, epochs = _alone(scale, goal, spent.seconds["cpu"] / len(SHARES))
        right = [_right(bench, one, goal, task) for one in (model, alone)]
        rivals.append(Rival(*right, seconds, share, scale, slower, epochs))
        say(f"    {rivals[-1].better:+.2f} pt against {scale:.2f} of the widths, {epochs} epochs")
    return rivals


def _drawn(scale: float, seed: int) -> nn.Module:
    import torch

    from bench._resnet import STAGES, resnet

    torch.manual_seed(seed)
    return resnet(DEPTH, tuple(round(scale * width) for width in STAGES))


def _supernet(bench: Bench, largest: Model, goal: Goal) -> Model:
    """The largest network from scratch, then with all of its parts."""
    from netsuke.nets.training.train import TrainPlan, train
    from netsuke.passes.search.supernet import Supernet

    plan = TrainPlan(epochs=bench.count(WHOLE, 1), **TRAINING)
    whole = replace(largest, network=train(largest.network, (), goal, plan))
    return Supernet(epochs=bench.count(PARTS, 1), **SPACE).apply(whole, goal)


def _subnet(bench: Bench, supernet: Model, goal: Goal, share: float) -> tuple[Model, float]:
    """(The part of the supernet that takes this share of its time, seconds it took to find.)"""
    from netsuke.passes.search.subnet import Subnet

    with on_the_clock(bench, supernet, goal) as lent:
        start = time.perf_counter()
        found = Subnet(ratio=1 - share).apply(supernet, lent)
        return found, time.perf_counter() - start


@contextmanager
def on_the_clock(bench: Bench, model: Model, goal: Goal) -> Iterator[Goal]:
    """The goal with what a fit lends it: this machine's clock and its table of kernels."""
    from netsuke.clock import LiveClock, LiveKernels
    from netsuke.fitting import Options, original_state, workbench

    with tempfile.TemporaryDirectory(dir=bench.folder("runs")) as name:
        folder = Path(name)
        with workbench(goal, Options(out=folder), folder) as place:
            clock = LiveClock(place, original_state(place, model))
            yield replace(place.goal, clock=clock, kernels=LiveKernels(place.runtime))


def _as_slow(
    bench: Bench, supernet: Model, subnets: list[Model], goal: Goal
) -> list[tuple[float, float, float]]:
    """For each subnet (its share of the largest network's time, the narrowest uniformly scaled network that is no faster,
    whose time ÷ the subnet's), all timed in turns."""
    from netsuke.intake import take_model

    nets = {"largest": supernet} | {f"sub {i}": model for i, model in enumerate(subnets)}
    nets |= {f"{s}": take_model(_drawn(s, goal.seed), goal.data, f"{s}") for s in SCALES}
    files = {name: exported(bench, model, goal) for name, model in nets.items()}
    times = compare(files, "largest", goal_sample(goal), bench.count(10, 1))
    took = {name: 1 / timing.ratio for name, timing in times.items()}
    found = []
    for i in range(len(subnets)):
        over = {s: took[f"{s}"] / took[f"sub {i}"] for s in SCALES}
        scale = next((s for s in SCALES if over[s] >= 1), SCALES[-1])
        found.append((took[f"sub {i}"], scale, over[scale]))
        left = f"    a subnet takes {100 * took[f'sub {i}']:.0f} % of the largest's time"
        say(f"{left}, {scale:.2f} of the widths {over[scale]:.2f} x as long")
    return found


def exported(bench: Bench, model: Model, goal: Goal) -> Path:
    from netsuke.runtimes.onnxruntime import OnnxRuntime

    folder = Path(tempfile.mkdtemp(dir=bench.folder("runs")))
    return OnnxRuntime().export(model, goal.device, folder / "m.onnx").path


def goal_sample(goal: Goal) -> np.ndarray:
    sample: np.ndarray = next(goal.data.validate.batches(1)).inputs[0]
    return sample


def _alone(scale: float, goal: Goal, seconds: float) -> tuple[Model, int]:
    """(A uniformly scaled network from scratch, the epochs it got for this much CPU time.)"""
    from netsuke.intake import take_model
    from netsuke.nets.training.train import TrainPlan, train

    model = take_model(_drawn(scale, goal.seed), goal.data, f"{scale}")
    with timed() as one:
        train(model.network, (), goal, TrainPlan(epochs=1, **TRAINING))
    epochs = max(1, round(seconds / one.seconds["cpu"]))
    plan = TrainPlan(epochs=epochs, **TRAINING)
    return replace(model, network=train(model.network, (), goal, plan)), epochs


def _right(bench: Bench, model: Model, goal: Goal, task: Task) -> np.ndarray:
    x, y = task.test
    found: np.ndarray = outputs(exported(bench, model, goal), x).argmax(1) == y
    return found
