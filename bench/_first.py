"""Figure 2 of `bench advise`: does the first recipe meet the limits, and does it give what was said of it?"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._data import CALIBRATE, VALIDATE, augment, load_test, load_train
from bench._harness import Bench, Claim, Figure, say
from bench._kept import TELLING, source
from bench._setup import RESNET20, calibrated, network

if TYPE_CHECKING:
    from torch import nn

    from netsuke.core.device import Device
    from netsuke.core.evidence import Evidence
    from netsuke.core.guess import Guess
    from netsuke.core.task import Task
    from netsuke.store import Run

LIMITS: dict[str, dict[str, float]] = {
    "28 % of the bytes": {"size": 0.28, "drop": 0.015},
    "half of the time": {"latency_p95": 0.5, "drop": 0.015},
    "15 % of the bytes": {"size": 0.15, "drop": 0.02},
}
"""Shares of what the original needs, and points (as fractions) that may be lost; set before anything was run."""
MET, HELD = 9, 80.0
GAINS = ("size", "latency_p50", "memory")


@dataclass(frozen=True)
class Tried:
    """A goal, what was proposed first for it and what was said of that, and the run by that recipe alone."""

    goal: str
    title: str
    figures: Mapping[str, Guess]
    run: Run

    @property
    def meets(self) -> bool:
        return all(
            v["outcome"] == "pass" for v in self.run.record["verdicts"] if v["check"] == "budget"
        )

    @property
    def measured(self) -> dict[str, float]:
        return {e["what"]: e["value"] for e in self.run.record["final"]["evidence"]}

    @property
    def held(self) -> dict[str, bool]:
        """For each stated gain, whether what was measured lies in its range."""
        return {what: self.figures[what].covers(self.measured[what]) for what in GAINS}

    def to_dict(self) -> dict[str, Any]:
        figures = self.figures
        return {
            "recipe": self.title, "meets": self.meets,
            "reasons": [v["reason"] for v in self.run.record["verdicts"] if v["check"] == "budget"],
            "figures": {
                what: {"expected": [figures[what].low, figures[what].value, figures[what].high],
                       "measured": self.measured[what]}
                for what in (*GAINS, "drop")
            },
            "work": {"expected": figures["work"].value, "took": sum(s["seconds"] for s in self.run.record["steps"])},
        }  # fmt: skip


def first(bench: Bench) -> Figure:
    """Four networks, three limits each: advise, fit by the first recipe alone, look."""
    here = calibrated()
    found = [
        _tried(bench, here, f"{name}, {limit}", (net, task))
        for name, (net, task) in _workloads(bench).items()
        for limit in LIMITS
    ]
    held = [ok for one in found for ok in one.held.values()]
    drops = [one.figures["drop"].covers(one.measured["drop"]) for one in found]
    claims = (
        Claim("goals whose limits the first recipe meets", sum(one.meets for one in found), "", "≥", MET),
        Claim("stated gains that hold within their range", 100 * sum(held) / len(held), "%", "≥", HELD),
        Claim("goals", len(found), "", "≥", 12),
    )  # fmt: skip
    notes = (
        f"stated losses of quality that hold within their range: {sum(drops)} of {len(drops)}",
        *(f"{one.goal}: {one.title} misses: {one.to_dict()['reasons']}" for one in found if not one.meets),
    )  # fmt: skip
    details = {one.goal: one.to_dict() for one in found}
    return Figure("the first recipe", claims, len(found), details, notes)


def _workloads(bench: Bench) -> dict[str, tuple[nn.Module, Task]]:
    from bench._lenet import images, trained
    from bench._mobile import mobilenet

    _, digits = images(bench)
    nets: dict[str, tuple[nn.Module, Task]] = {
        name: (trained(bench, name, digits), digits) for name in ("LeNet-300-100", "LeNet-5")
    }
    cifar = _cifar(bench)
    nets["ResNet-20"] = (network(bench, RESNET20), cifar)
    if not bench.quick:
        nets["MobileNet-style"] = (mobilenet(bench), cifar)
    return nets


def _cifar(bench: Bench) -> Task:
    """Judged on images that no network was trained on: half of the test images to choose on, half for the
    evidence."""
    from netsuke import Task

    train, (x, y) = load_train(bench), load_test(bench)
    half = len(x) // 2
    rows = slice(VALIDATE.stop, VALIDATE.stop + 500 if bench.quick else None)
    return Task(
        train=train.part(rows), calibrate=train.part(CALIBRATE)[0], validate=(x[:half], y[:half]),
        test=(x[half:], y[half:]), augment=augment,
    )  # fmt: skip


def _tried(bench: Bench, here: Device, name: str, what: tuple[nn.Module, Task]) -> Tried:
    """What was tried for the goal; a run by the same recipe and source is kept, for twelve take hours."""
    import netsuke
    from netsuke.fitting import Options
    from netsuke.store import open_run

    net, task = what
    shares, needs = LIMITS[name.partition(", ")[2]], _needs(net, task)
    limits = {what: share if what == "drop" else share * needs[what] for what, share in shares.items()}  # fmt: skip
    budget = netsuke.Budget(**limits)
    best = netsuke.advise(net, task, here, budget).proposals[0]
    mark = hashlib.sha256(
        f"{name} {bench.quick} {best.recipe.to_toml()}".encode() + source(TELLING)
    )
    folder = bench.folder("first") / mark.hexdigest()[:16]
    if (folder / "manifest.json").is_file():
        run = open_run(folder)
    else:
        options = Options(name=name, out=folder, fresh=True)
        run = netsuke.fit(
            net, task, device=here, budget=budget, recipe=best.recipe, options=options
        )
    found = Tried(name, best.title, best.figures, run)
    said = ", ".join(f"{w} {found.measured[w]:.4g} ({found.figures[w]})" for w in (*GAINS, "drop"))
    say(f"  {found.goal}: {found.title}, {'met' if found.meets else 'MISSED'}; {said}")
    return found


def _needs(net: nn.Module, task: Task) -> dict[str, float]:
    """What the original needs, measured now."""
    from netsuke.core.budget import Budget
    from netsuke.core.observer import Observer
    from netsuke.core.runtime import runtime_named
    from netsuke.fitting import original_state
    from netsuke.intake import take_goal, take_model
    from netsuke.workbench import Workbench

    goal = take_goal(task, "local", Budget(), 0, Observer())
    goal = replace(goal, clock=None)
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench(goal, runtime_named("onnxruntime"), Path(folder), Observer())
        evidence: tuple[Evidence, ...] = original_state(
            bench, take_model(net, goal.data, "original")
        ).evidence
    return {e.what: e.value for e in evidence}
