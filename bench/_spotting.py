"""Figure 5 of `bench search`: words of speakers never heard, by a network found in a space, under 50 kB."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._contest import gap
from bench._harness import Bench, Claim, Figure, say
from bench._kept import kept_arrays
from bench._once import exported
from bench._speech import CLASSES, SPEAKERS, Speech, fold, speech
from bench._timing import outputs

if TYPE_CHECKING:
    from netsuke.core.goal import Goal
    from netsuke.core.model import Model
    from netsuke.core.recipe import Recipe
    from netsuke.core.task import Task
    from netsuke.store import Run

WIDTH, BLOCKS, STRIDE = 80, 4, (4, 2)
"""Of the largest network of the space."""
EPOCHS = 18
"""Of the largest network from scratch, and then of the space that it spans."""
DEVICE = "pi_zero2"
SPACE = {"batch": 64, "lr": 0.02, "least": 0.5, "between": 1}
AFTER = {"batch": 64, "lr": 0.02, "epochs": 12}
"""What is found learns on from the largest; so does the largest, from itself."""
RECIPE = f"""
[[pass]]
use = "search.subnet"
cost = "bytes"
ratio = 0.15
{"".join(f"{key} = {value}" + chr(10) for key, value in AFTER.items())}
[[pass]]
use = "quantize.static"
"""
LIMIT = 50_000


@dataclass(frozen=True)
class Spotted:
    """On one speaker: what was right, by recording, and the bytes of the file that runs."""

    whole: np.ndarray
    found: np.ndarray
    bytes: tuple[int, int]


def spotting(bench: Bench) -> Figure:
    """Each speaker in turn is the one to judge by."""
    spoken = speech(bench)
    every = [_spotted(bench, spoken, number) for number in range(1 if bench.quick else SPEAKERS)]
    whole, found = (np.concatenate([getattr(one, who) for one in every]) for who in ("whole", "found"))  # fmt: skip
    apart = gap(whole, found)
    claims = (
        Claim("below the largest of its space", apart["points"], "pt", "≤", 1.0),
        Claim(
            "largest file found", max(one.bytes[1] for one in every) / 1000, "kB", "≤", LIMIT / 1000
        ),
    )
    notes = (
        f"{100 * found.mean():.2f} % of {len(found):,} recordings, the largest {100 * whole.mean():.2f} % "
        f"({every[0].bytes[0] / 1000:.0f} kB); 95 % of the difference: {apart['low']:+.2f} … {apart['high']:+.2f} pt",
    )
    details: dict[str, Any] = apart | {
        "by speaker": [[float(one.whole.mean()), float(one.found.mean()), *one.bytes] for one in every]
    }  # fmt: skip
    return Figure("spoken digits under 50 kB", claims, len(found), details, notes)


def _spotted(bench: Bench, spoken: Speech, number: int) -> Spotted:
    how = f"spotted {number} {WIDTH} {BLOCKS} {STRIDE} {EPOCHS} {DEVICE} {SPACE} {RECIPE}"
    kept = kept_arrays(bench, how, lambda: _judged(bench, fold(spoken, number), number))
    whole, found = kept["whole"], kept["found"]
    before, after = (int(size) for size in kept["bytes"])
    say(
        f"  speaker {number}: {100 * whole.mean():.1f} % → {100 * found.mean():.1f} %, {before:,} → {after:,} bytes"
    )
    return Spotted(whole, found, (before, after))


def _judged(bench: Bench, task: Task, number: int) -> dict[str, np.ndarray]:
    """What was right, by recording, of the largest network of a space and of what was found in it, and the bytes of both
    files: they were trained together, then each as long alone."""
    from netsuke.core.budget import Budget
    from netsuke.core.observer import Observer
    from netsuke.core.recipe import make_pass, read_recipe
    from netsuke.intake import take_goal

    goal = take_goal(task, DEVICE, Budget(), number, Observer())
    space = make_pass("search.supernet", SPACE | {"epochs": bench.count(EPOCHS, 1)})
    space = space.apply(_begun(bench, goal), goal)
    run = _run(bench, (space, task), read_recipe(RECIPE), number)
    x, y = task.test
    files = {
        "whole": exported(bench, _longer(bench, space, goal), goal),
        "found": run.artifact.path,
    }
    right = {who: outputs(path, x).argmax(1) == y for who, path in files.items()}
    return right | {"bytes": np.array([path.stat().st_size for path in files.values()])}


def _begun(bench: Bench, goal: Goal) -> Model:
    """The largest network from scratch."""
    import torch

    from netsuke.families.audio import DSCNN
    from netsuke.intake import take_model
    from netsuke.nets.training.train import TrainPlan, train

    torch.manual_seed(goal.seed)
    drawn = take_model(DSCNN(CLASSES, WIDTH, BLOCKS, stride=STRIDE), goal.data, "largest")
    plan = TrainPlan(epochs=bench.count(EPOCHS, 1), lr=0.05, batch=64)
    return replace(drawn, network=train(drawn.network, (), goal, plan))


def _longer(bench: Bench, whole: Model, goal: Goal) -> Model:
    """The largest network after as much more training as what is found in it gets, with itself as the teacher."""
    from netsuke.nets.training.train import TrainPlan, train

    plan = TrainPlan(**{**AFTER, "epochs": bench.count(AFTER["epochs"], 1)})
    return replace(whole, network=train(whole.network, (whole.network,), goal, plan))


def _run(bench: Bench, what: tuple[Model, Task], recipe: Recipe, number: int) -> Run:
    """What the recipe finds in the largest network."""
    import netsuke
    from netsuke.core.budget import Budget
    from netsuke.fitting import Options

    folder = Path(tempfile.mkdtemp(prefix="spotting-", dir=bench.folder("runs")))
    return netsuke.fit(
        *what, device=DEVICE, budget=Budget(size=LIMIT, drop="100 pt"), recipe=recipe,
        options=Options(name="spotting", out=folder, seed=number),
    )  # fmt: skip
