"""``study``: recipes, ratios, bits and widths searched together for a goal."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from netsuke.fitting import facts_of
from netsuke.intake import take_goal, take_model
from netsuke.record import Origin
from netsuke.study.laboratory import OBJECTIVES, Laboratory
from netsuke.study.memory import bounded
from netsuke.study.opened import Opening, opened
from netsuke.study.outcome import write_front, write_page
from netsuke.study.space import read_space
from netsuke.study.storage import remembered
from netsuke.study.studies import Search, Study, alone
from netsuke.study.workers import Here, Workers

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
    proxy: what sorts networks drawn anew before they train (``nets/proxies``), "" for nothing. cluster: the address of a
    Ray cluster, "" for this process alone. storage: the address of a PostgreSQL database, "" for a journal file in
    ``out``."""

    out: Path
    trials: int = 50
    seconds: float | None = None
    objectives: tuple[str, ...] = ("size", "latency", "drop")
    space: str = POST_TRAINING
    sampler: str = "thompson"
    seed: int = 0
    advised: bool = True
    proxy: str = ""
    cluster: str = ""
    storage: str = ""
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
    goal = take_goal(task, device, budget or Budget(), plan.seed, plan.observer)
    taken = take_model(model, goal.data, "model")
    space = read_space(plan.space)
    opening = Opening(
        out=plan.out, drafts=plan.out, objectives=plan.objectives, proxy=plan.proxy, seed=plan.seed,
        observer=plan.observer,
    )  # fmt: skip
    with (
        alone(plan.out), remembered(plan.out, plan.storage, plan.observer.note) as storage,
        bounded(), opened(taken, goal, opening) as laboratory,
    ):  # fmt: skip
        told = json.dumps([laboratory.prefixes.mark, asdict(space)], sort_keys=True, default=str)
        search = Search(
            space=space, objectives=plan.objectives, mark=hashlib.sha256(told.encode()).hexdigest(),
            sampler=plan.sampler, seed=plan.seed, several=bool(plan.cluster), worth=laboratory.worth,
            student=task.student if is_function(task.student) else None,
        )  # fmt: skip
        found = Study(plan.out, storage, search)
        if plan.advised:
            facts = facts_of(laboratory.bench, laboratory.original)
            found.start_from([p.recipe for p in propose(facts).proposals])
        with _workers(plan, laboratory) as workers:
            _search(found, laboratory, workers, plan)
        if not found.front():
            raise NetsukeError(f"study: {_nearest(found)}")
        return write_front(found, laboratory, plan.origin)


@contextmanager
def _workers(plan: Plan, laboratory: Laboratory) -> Iterator[Workers]:
    """This process, or the cluster's machines."""
    if not plan.cluster:
        yield Here(laboratory)
        return
    from netsuke.study.cluster import Job, connected

    if not plan.origin.workload:
        raise NetsukeError(
            "study: a cluster's machines read the workload from its file; give one (Origin.workload)"
        )
    goal = laboratory.bench.goal
    onnx = plan.origin.model
    job = Job(
        workload=str(Path(plan.origin.workload).absolute()), onnx=str(Path(onnx).absolute()) if onnx else "",
        device=goal.device.name, limits=goal.budget.limits(), out=str(plan.out.absolute()),
        objectives=plan.objectives, proxy=plan.proxy, seed=plan.seed,
    )  # fmt: skip
    with connected(plan.cluster, job, laboratory.prefixes.mark) as cluster:
        yield cluster


def _search(found: Study, laboratory: Laboratory, workers: Workers, plan: Plan) -> None:
    """Every trial told as it ends; the page follows, but not so often that drawing it would take the time."""
    drawn = time.monotonic()
    for said in found.run(workers, plan.trials, plan.seconds):
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
