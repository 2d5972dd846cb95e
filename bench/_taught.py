"""Figure 1 of `bench search`: what a teacher is worth to a network that starts from nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench._contest import gap
from bench._data import load_test
from bench._harness import Bench, Claim, Figure, say
from bench._kept import kept_arrays
from bench._setup import RESNET56, network, with_training

if TYPE_CHECKING:
    from netsuke.core.goal import Goal
    from netsuke.core.model import Model
    from netsuke.core.task import Task
    from netsuke.nets.training.plan import TrainPlan

SEEDS = (0, 1, 2)
TAUGHT = {"temperature": 4.0, "soft": 0.9}
TRAINING = {"epochs": 8, "lr": 0.1, "batch": 128}
ARMS = ("alone", "taught")


def taught(bench: Bench) -> Figure:
    """ResNet-20 from scratch, by the same loop on the same views, with and without ResNet-56 beside it."""
    seeds = SEEDS[:1] if bench.quick else SEEDS
    right = {arm: [_right(bench, arm, seed) for seed in seeds] for arm in ARMS}
    apart = gap(np.concatenate(right["taught"]), np.concatenate(right["alone"]))
    each = [100 * float(t.mean() - a.mean()) for t, a in zip(right["taught"], right["alone"], strict=True)]  # fmt: skip
    reach = half(each)
    low = min(apart["low"], apart["points"] - reach)
    claims = (
        Claim("better with a teacher", apart["points"], "pt", "≥", 0.5),
        Claim("lower end of its interval", low, "pt", ">", 0.0),
    )
    accuracy = {arm: [float(r.mean()) for r in found] for arm, found in right.items()}
    notes = (
        "; ".join(
            f"{arm} {100 * float(np.mean(found)):.2f} % ({', '.join(f'{100 * a:.2f}' for a in found)})"
            for arm, found in accuracy.items()
        ),
        f"95 %: {apart['points'] - reach:.2f} … {apart['points'] + reach:.2f} pt over {len(seeds)} seeds, "
        f"{apart['low']:.2f} … {apart['high']:.2f} pt over the images",
    )
    count = sum(len(one) for one in right["taught"])
    return Figure("ResNet-20 taught by ResNet-56", claims, count, {"accuracy": accuracy, "each": each}, notes)  # fmt: skip


def half(each: list[float]) -> float:
    """Half of the 95 % interval of the mean over seeds (Student's t); of one seed nothing is known."""
    from scipy import stats

    if len(each) < 2:
        return 0.0
    return float(stats.t.ppf(0.975, len(each) - 1) * np.std(each, ddof=1) / np.sqrt(len(each)))


def _right(bench: Bench, arm: str, seed: int) -> np.ndarray:
    """For every test image, whether the trained student knew its class."""
    how = f"taught {arm} {seed} {TRAINING} {TAUGHT}"
    return kept_arrays(bench, how, lambda: {"right": _trained(bench, arm, seed)})["right"]


def _trained(bench: Bench, arm: str, seed: int) -> np.ndarray:
    import torch

    from netsuke.core.budget import Budget
    from netsuke.core.observer import Observer
    from netsuke.intake import take_goal, take_model
    from netsuke.nets.training.train import retrain

    say(f"training ResNet-20 {arm}, seed {seed}")
    task = with_training(bench)
    goal = take_goal(task, "local", Budget(), seed, Observer())
    student = _student(goal, task, seed)
    teachers = (take_model(network(bench, RESNET56), goal.data, "teacher").network,)
    made = retrain(student.network, teachers if arm == "taught" else (), goal, _plan(arm, bench)).network.eval()  # fmt: skip
    x, y = load_test(bench)
    with torch.inference_mode():
        parts = [made(torch.from_numpy(x[i : i + 500])).argmax(1).numpy() for i in range(0, len(x), 500)]  # fmt: skip
    found: np.ndarray = np.concatenate(parts) == y
    say(f"  {arm}, seed {seed}: {100 * found.mean():.2f} %")
    return found


def _student(goal: Goal, task: Task, seed: int) -> Model:
    """ResNet-20 that was never trained."""
    import torch

    from bench._resnet import resnet
    from netsuke.intake import take_model

    torch.manual_seed(seed)
    return take_model(resnet(20), goal.data, "student")


def _plan(arm: str, bench: Bench) -> TrainPlan:
    from netsuke.nets.training.plan import TrainPlan

    plan = TrainPlan(**TRAINING, **TAUGHT)
    plan = replace(plan, epochs=1) if bench.quick else plan
    return plan if arm == "taught" else replace(plan, soft=0.0)
