"""``study``: recipes, ratios, bits and widths searched together for a goal."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from netsuke import store
from netsuke.advisor.propose import propose
from netsuke.core.budget import Budget
from netsuke.core.choices import is_function
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.observer import Observer
from netsuke.core.task import Task
from netsuke.fitting import Options, facts_of, original_state, workbench
from netsuke.intake import take_goal, take_model
from netsuke.journal import fingerprint
from netsuke.record import Origin
from netsuke.study.laboratory import OBJECTIVES, Laboratory
from netsuke.study.memory import bounded
from netsuke.study.outcome import write_front, write_page
from netsuke.study.prefixes import Prefixes
from netsuke.study.space import read_space
from netsuke.study.studies import Search, Study, alone

POST_TRAINING = """
[[slot]]
optional = true
[[slot.pass]]
use = "prune.channels"
ratio = { low = 0.1, high = 0.7 }
scope = ["global", "local"]
criterion = ["taylor", "hessian", "l1"]
epochs = 0
[[slot]]
optional = true
[[slot.pass]]
use = "quantize.static"
weights = [8, 6, 5, 4]
estimator = ["mse", "percentile", "minmax"]
rounding = ["nearest", "gptq"]
correct = ["none", "bias"]
[[slot.pass]]
use = "quantize.weights"
scheme = ["int8", "int4g64", "kmeans4"]
"""
"""Where no space is given: nothing in it trains, so that a trial takes seconds."""
REDRAWN = 60.0
"""Seconds after which the page of a study under way is drawn again."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a study is run. trials: in all, those of earlier processes too. seconds: after which no trial of this
    call begins, None for no such end. objectives: what is to be small
    (``OBJECTIVES``). space: TOML, as ``read_space`` takes it. advised: whether the advisor's recipes come first.
    proxy: what sorts networks drawn anew before they train (``nets/proxies``), "" for nothing."""

    out: Path
    trials: int = 50
    seconds: float | None = None
    objectives: tuple[str, ...] = ("size", "latency", "drop")
    space: str = POST_TRAINING
    sampler: str = "tpe"
    seed: int = 0
    advised: bool = True
    proxy: str = ""
    origin: Origin = field(default_factory=Origin)
    observer: Observer = field(default_factory=Observer)

    def __post_init__(self) -> None:
        unknown = [name for name in self.objectives if name not in OBJECTIVES]
        if unknown or not self.objectives:
            raise NetsukeError(
                f"study: objective {', '.join(unknown) or 'none'}; there are: {', '.join(OBJECTIVES)}"
            )
        if self.trials < 1:
            raise NetsukeError(f"study: {self.trials} trials; give one or more")


def study(
    model: Any,
    task: Task,
    plan: Plan,
    *,
    device: str | Device = "local",
    budget: Budget | None = None,
) -> tuple[store.Run, ...]:
    """Search recipes for several objectives within hard limits; the front as runs, exported, measured on the
    test data and judged.

    The same call goes on with a study that was interrupted, with nothing lost. What passes made is kept in the
    study's folder, and the same beginning of a recipe is never computed twice.

    Raises NetsukeError for what a user can mend: a space that names no such pass, objectives that nothing
    measures, another study in the folder, another process at work on it.
    """
    from netsuke.nets.proxies.proxy import proxy

    goal = take_goal(task, device, budget or Budget(), plan.seed, plan.observer)
    taken = take_model(model, goal.data, "model")
    space = read_space(plan.space)
    sorter = proxy(plan.proxy) if plan.proxy else None
    mark = fingerprint(taken, goal, None)
    told = json.dumps([mark, asdict(space)], sort_keys=True, default=str)
    search = Search(
        space=space, objectives=plan.objectives, mark=hashlib.sha256(told.encode()).hexdigest(),
        sampler=plan.sampler, seed=plan.seed,
        student=task.student if is_function(task.student) else None,
    )  # fmt: skip
    options = Options(out=plan.out, seed=plan.seed, observer=plan.observer)
    with alone(plan.out), bounded(), workbench(goal, options, plan.out) as bench:
        found = Study(plan.out, search)
        original = original_state(bench, taken)
        prefixes = Prefixes(plan.out / "models", mark)
        laboratory = Laboratory(bench, original, prefixes, plan.objectives, sorter)
        if plan.advised:
            found.start_from([p.recipe for p in propose(facts_of(bench, original)).proposals])
        _search(found, laboratory, plan)
        if not found.front():
            raise NetsukeError(f"study: {_nearest(found)}")
        return write_front(found, laboratory, plan.origin)


def _search(found: Study, laboratory: Laboratory, plan: Plan) -> None:
    """Every trial told as it ends; the page follows, but not so often that drawing it would take the time."""
    drawn = time.monotonic()
    for said in found.run(laboratory, plan.trials, plan.seconds):
        plan.observer.note(said)
        if time.monotonic() - drawn > REDRAWN:
            write_page(found, laboratory)
            drawn = time.monotonic()


def _nearest(found: Study) -> str:
    """Why there is no front: what came nearest to the limits."""
    if not found.found:
        return f"none of {found.count} trials ended well; look at their reasons, and give a wider space"
    best = min(found.found, key=lambda one: one.over)
    return (
        f"none of {found.count} trials is within the limits; trial {best.number} is nearest, "
        f"{100 * best.over:.0f} % beyond its worst limit: give it room, or a wider space"
    )
