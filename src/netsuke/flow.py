"""The verbs of the walk. Read this first.

    Model + Goal ─advise→ Recipe ─fit→ Model′ ─export→ Artifact ─measure→ Evidence ─judge→ Verdict

``fit`` walks it once per step of the recipe: each step is exported, measured in the real runtime
and judged before the next one starts (``fitting.py``).
"""

import functools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from netsuke import store
from netsuke.advisor.advice import Advice
from netsuke.advisor.applications import Use
from netsuke.advisor.propose import propose
from netsuke.calibrate import Reading
from netsuke.calibrate import calibrate as measure_rates
from netsuke.core.budget import Budget
from netsuke.core.device import Device, recorded_device
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.layer import Layer
from netsuke.core.observer import Observer
from netsuke.core.probe import Subject
from netsuke.core.recipe import Recipe
from netsuke.core.runtime import Session, runtime_named
from netsuke.core.task import Task, ready
from netsuke.devices import device as find_device
from netsuke.devices import own_file
from netsuke.devices.file import write_device
from netsuke.explain import NETWORK
from netsuke.fitting import (
    Options as Options,
)
from netsuke.fitting import (
    facts_of,
    fitted,
    measured,
    original_state,
    workbench,
)
from netsuke.fitting import judge as judge
from netsuke.gate import Gate, Trial
from netsuke.intake import take_goal, take_model
from netsuke.layerwise import redone
from netsuke.links import reach, reachable
from netsuke.record import FEDERATED, write_run
from netsuke.workbench import Shared, Workbench, of_device, probe, probes


def fit(
    model: Any,
    task: Task,
    *,
    device: str | Device = "local",
    budget: Budget | None = None,
    recipe: Recipe | None = None,
    options: Options | None = None,
) -> store.Run:
    """Carve a trained model until it meets the budget on the device, and prove it.

    model: an ``nn.Module``, an ``.onnx`` path or a Model. recipe: None lets the advisor propose,
    mildest first, until the validation data says that the limits are met. An interrupted fit with
    the same model, data, goal and seed resumes at its last accepted step.

    Raises NetsukeError for anything a user can mend, before any work is done where possible.
    """
    return fit_each(model, task, devices=[device], budget=budget, recipe=recipe, options=options)[0]


def fit_each(
    model: Any,
    task: Task,
    *,
    devices: Sequence[str | Device],
    budget: Budget | None = None,
    recipe: Recipe | None = None,
    options: Options | None = None,
) -> tuple[store.Run, ...]:
    """``fit`` for several devices: a run for each, in their order.

    What does not depend on the device (all training but of what carves by time) is done once. The runs of several are
    ``NAME-DEVICE-n``, or folders of the devices' names within ``options.out``. Raises NetsukeError as
    ``fit`` does, and for a device that is named twice.
    """
    options, budget = options or Options(), budget or Budget()
    found = [reachable(d if isinstance(d, Device) else find_device(d)) for d in devices]
    if twice := [d.name for i, d in enumerate(found) if d.name in {e.name for e in found[:i]}]:
        raise NetsukeError(f"fit: device {twice[0]} is named twice")
    goal = take_goal(task, found[0], budget, options.seed, options.observer)
    goal = replace(goal, team=options.team)
    taken, shared, runs = take_model(model, goal.data, options.name), Shared(), []
    for one in found:
        own = options
        if len(found) > 1:
            options.observer.note(f"for {one.name}, {one.title}")
            out = None if options.out is None else options.out / one.name
            own = replace(options, name=f"{options.name}-{one.name}", out=out)
        runs.append(fitted(taken, replace(goal, device=one), recipe, own, shared))
    return tuple(runs)


def walk(
    model: Any,
    recipe: Recipe,
    task: Task,
    device: str | Device = "local",
    budget: Budget | None = None,
) -> Iterator[Trial]:
    """The same walk step by step: yields each trial, with its evidence, as it is decided."""
    goal = take_goal(task, device, budget or Budget(), 0, Observer())
    taken = take_model(model, goal.data, "model")
    with tempfile.TemporaryDirectory() as folder:
        made = Workbench(goal, runtime_named("onnxruntime"), Path(folder), Observer())
        with closing(made) as bench:
            original = state = original_state(bench, taken)
            gate = Gate(bench, original)
            for wanted in recipe:
                for trial in gate.step(state, wanted):
                    yield trial
                    if trial.outcome == "kept" and trial.state:
                        state = trial.state


def advise(
    model: Any,
    task: Task,
    device: str | Device = "local",
    budget: Budget | None = None,
    use: Use | None = None,
    observer: Observer | None = None,
) -> Advice:
    """Which recipes to try for this model, task, device and budget, and why.

    Trains nothing. The model as it came is tried on some samples it was trained on and some it was not, and
    timed where the device is this machine. use: what the model is for, and how long the work may take.
    Raises NetsukeError for a limit that nothing can meet.
    """
    from netsuke.nets.evaluation import gap

    use, observer = use or Use(), observer or Observer()
    goal = take_goal(task, device, budget or Budget(), 0, observer)
    taken = take_model(model, goal.data, "model")
    with tempfile.TemporaryDirectory() as folder:
        made = Workbench(goal, runtime_named("onnxruntime"), Path(folder), observer)
        with closing(made) as bench:
            state = bench.state(taken)
            if goal.device.measured:
                found = bench.measure(state, state, None, ("size", "latency", "memory"))
                state = replace(state, evidence=found)
            facts = facts_of(bench, state)
    facts = replace(facts, application=use.application, hours=use.hours)
    return propose(replace(facts, gap=gap(taken.network, goal.data)))


def calibrate(
    name: str = "local", observer: Observer | None = None
) -> tuple[Device, tuple[Reading, ...]]:
    """Measure a paired device's rates, or this machine's as those of the device of that name, and keep them.

    They are written to the user's own device file, which comes before the one that is shipped. Raises
    NetsukeError where this machine cannot be that device, or the paired one does not answer.
    """
    known, runtime = reachable(find_device(name)), runtime_named("onnxruntime")
    with closing(reach(known, runtime, observer or Observer())) as link:
        found, readings = measure_rates(known, runtime, link, observer)
    write_device(found, own_file(known.name))
    return found, readings


def inspect(model: Any, task: Task | None = None) -> tuple[Layer, ...]:
    """The layers of a model with what each costs. An ``.onnx`` path or a Model needs no task."""
    from netsuke.nets.costs import layers

    return layers(take_model(model, None if task is None else ready(task), "model"))


def measure(
    what: store.Run | str | Path,
    task: Task | None = None,
    observer: Observer | None = None,
    device: str = "local",
) -> tuple[Evidence, ...]:
    """Measure an artifact on this machine, or on a paired device: a run, beside its original, or any ``.onnx`` file.

    Quality is measured on the task's test data when a task is given. Raises NetsukeError for a device that cannot be
    measured on, or does not answer.
    """
    runtime = runtime_named("onnxruntime")
    if isinstance(what, store.Run):
        store.verify(what)
        artifacts = (what.artifact, what.baseline)
    else:
        artifacts = (runtime.adopt(Path(what)),) * 2
    where = reachable(find_device(device))
    if not where.measured:
        raise NetsukeError(
            f"{device}: is known, but not paired; netsuke pair {device} ADDRESS CODE"
        )
    splits = ready(task or Task(test=(np.zeros(1), np.zeros(1))))
    watch = observer or Observer()
    goal = Goal(data=splits, device=where, track=watch.track)
    with closing(reach(where, runtime, watch)) as link:
        subject, beside = (
            Subject(artifact=a, open=functools.partial(link.open, a)) for a in artifacts
        )
        test = splits.test if task else None
        found = probe(probes().values(), (subject, beside), test, goal, link)
        return of_device(found, link)


def load(folder: str | Path, threads: int = 1) -> Session:
    """The carved model of a run, ready to run: ``load("runs/digits-1").run((x,))``. No torch.

    Where the folder has only the stored form, ``model.nsk``, it is expanded on the way.
    """
    run = store.open_run(Path(folder))
    with tempfile.TemporaryDirectory() as drafts:
        artifact = store.runnable(run, Path(drafts))
        return runtime_named(artifact.runtime).open(artifact, threads)


def replay(old: store.Run, model: Any, task: Task, options: Options) -> store.Run:
    """Do a run's kept steps again, with its choices, and write the result as a run of its own.

    The same seed on the same machine gives the same artifact; raises NetsukeError where it does
    not, after the new run is written.
    """
    if options.team.size > 1:
        raise NetsukeError("fit: one process replays; leave torchrun out")
    if any(step["name"] == FEDERATED for step in old.record["steps"]):
        raise NetsukeError(
            f"{old.folder}: was trained over clients; netsuke federate does that again"
        )
    # The device as it was: this machine's rates are measured anew each time it is asked.
    budget, device = Budget(**old.record["budget"]), recorded_device(old.record["device"])
    options = replace(options, seed=old.record["seed"])
    goal = take_goal(task, device, budget, options.seed, options.observer)
    taken = take_model(model, goal.data, options.name)
    target = options.out or store.next_folder(options.name)
    # What led to the final state is the only proposal of a replay.
    trials = tuple({**t, "proposal": 0} for t in old.record["steps"] if t["final"])
    with workbench(goal, options, target) as bench:
        original = original_state(bench, taken)
        state = bench.state(redone(taken, old.record, goal))
        finished = replace(measured(bench, original, state), trials=trials)
        if (old.folder / NETWORK).is_dir():
            shutil.copytree(old.folder / NETWORK, target / NETWORK)
        run = write_run(target, finished, options.origin)
    if run.artifact.sha256 != old.artifact.sha256:
        raise NetsukeError(
            f"{target}: its artifact differs from {old.folder}'s; compare their versions"
        )
    return run
