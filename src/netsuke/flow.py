"""The verbs of the walk. Read this first.

    Model + Goal ─advise→ Recipe ─fit→ Model′ ─export→ Artifact ─measure→ Evidence ─judge→ Verdict

``fit`` walks it once per step of the recipe: each step is exported, measured in the real runtime
and judged before the next one starts.
"""

import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from netsuke import store
from netsuke.advisor.advice import Advice
from netsuke.advisor.applications import Use
from netsuke.advisor.facts import Facts
from netsuke.advisor.propose import propose
from netsuke.calibrate import Reading
from netsuke.calibrate import calibrate as measure_rates
from netsuke.core.budget import Budget
from netsuke.core.check import Check
from netsuke.core.device import Device, recorded_device
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence, find
from netsuke.core.goal import Goal
from netsuke.core.layer import Layer
from netsuke.core.model import Model
from netsuke.core.observer import Observer
from netsuke.core.probe import Subject
from netsuke.core.recipe import Recipe
from netsuke.core.registry import named, registered
from netsuke.core.runtime import Runtime, Session
from netsuke.core.task import Task, ready
from netsuke.core.verdict import Verdict
from netsuke.devices import device as find_device
from netsuke.devices import own_file
from netsuke.devices.file import write_device
from netsuke.explain import NETWORK, keep
from netsuke.gate import Gate, Trial
from netsuke.intake import take_goal, take_model
from netsuke.journal import Journal, fingerprint
from netsuke.layerwise import redone
from netsuke.record import Finished, Origin, write_run
from netsuke.workbench import STEP_PROBES, State, Workbench, probe, probes


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a fit is run, apart from what is wanted.

    out: the run's folder; None takes ``runs/NAME-n``. fresh: start over where an interrupted run
    could be resumed. control: also train the original as the kept steps were, and compare with it.
    origin: where the model and the task came from. runtime: where artifacts run.
    """

    name: str = "model"
    out: Path | None = None
    seed: int = 0
    fresh: bool = False
    control: bool = False
    origin: Origin = field(default_factory=Origin)
    runtime: str = "onnxruntime"
    observer: Observer = field(default_factory=Observer)


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
    options, budget = options or Options(), budget or Budget()
    goal = take_goal(task, device, budget, options.seed, options.observer)
    taken = take_model(model, goal.data, options.name)
    mark = fingerprint(taken, goal, recipe)
    folder = _folder(options, mark)
    journal = Journal.resume(store.Progress(folder), mark)
    with _workbench(goal, options, folder) as bench:
        original = _original(bench, taken)
        advice = None if recipe else propose(_facts(original, goal))
        wanted = tuple(p.recipe for p in advice.proposals) if advice else ()
        chosen, state = _carve(bench, original, (recipe,) if recipe else wanted, journal)
        finished = _measured(bench, original, state)
        finished = replace(finished, trials=tuple(journal.trials), chosen=chosen, advice=advice)
        if options.control:
            finished = _controlled(bench, finished)
        keep(folder, state.model, journal.source(chosen, original))
        run = write_run(folder, finished, options.origin)
    journal.progress.clear()
    return run


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
        bench = Workbench(goal, _runtime("onnxruntime"), Path(folder), Observer())
        original = state = _original(bench, taken)
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
        bench = Workbench(goal, _runtime("onnxruntime"), Path(folder), observer)
        state = bench.state(taken)
        if goal.device.measured:
            found = bench.measure(state, state, None, ("size", "latency", "memory"))
            state = replace(state, evidence=found)
    facts = replace(_facts(state, goal), application=use.application, hours=use.hours)
    return propose(replace(facts, gap=gap(taken.network, goal.data)))


def calibrate(
    name: str = "local", observer: Observer | None = None
) -> tuple[Device, tuple[Reading, ...]]:
    """Measure this machine's rates as those of the device of that name, and keep them.

    They are written to the user's own device file, which comes before the one that is shipped. Raises
    NetsukeError where this machine cannot be that device.
    """
    known = find_device(name)
    found, readings = measure_rates(known, _runtime("onnxruntime"), observer)
    write_device(found, own_file(known.name))
    return found, readings


def inspect(model: Any, task: Task | None = None) -> tuple[Layer, ...]:
    """The layers of a model with what each costs. An ``.onnx`` path or a Model needs no task."""
    from netsuke.nets.costs import layers

    return layers(take_model(model, None if task is None else ready(task), "model"))


def measure(
    what: store.Run | str | Path, task: Task | None = None, observer: Observer | None = None
) -> tuple[Evidence, ...]:
    """Measure an artifact here and now: a run, beside its original, or any ``.onnx`` file.

    Quality is measured on the task's test data when a task is given.
    """
    runtime = _runtime("onnxruntime")
    if isinstance(what, store.Run):
        store.verify(what)
        artifacts = (what.artifact, what.baseline)
    else:
        artifacts = (runtime.adopt(Path(what)),) * 2
    subject, beside = (
        Subject(artifact=a, open=functools.partial(runtime.open, a)) for a in artifacts
    )
    splits = ready(task or Task(test=(np.zeros(1), np.zeros(1))))
    watch = observer or Observer()
    goal = Goal(data=splits, device=find_device("local"), track=watch.track)
    return probe(probes().values(), subject, beside, splits.test if task else None, goal)


def judge(
    evidence: tuple[Evidence, ...], budget: Budget, device: str = "local"
) -> tuple[Verdict, ...]:
    """Every check's verdicts on the evidence about one device."""
    checks = registered(Check, "netsuke.checks")
    return tuple(v for check in checks.values() for v in check().judge(evidence, budget, device))


def load(folder: str | Path, threads: int = 1) -> Session:
    """The carved model of a run, ready to run: ``load("runs/digits-1").run((x,))``. No torch.

    Where the folder has only the stored form, ``model.nsk``, it is expanded on the way.
    """
    run = store.open_run(Path(folder))
    with tempfile.TemporaryDirectory() as drafts:
        artifact = store.runnable(run, Path(drafts))
        return _runtime(artifact.runtime).open(artifact, threads)


def replay(old: store.Run, model: Any, task: Task, options: Options) -> store.Run:
    """Do a run's kept steps again, with its choices, and write the result as a run of its own.

    The same seed on the same machine gives the same artifact; raises NetsukeError where it does
    not, after the new run is written.
    """
    # The device as it was: this machine's rates are measured anew each time it is asked.
    budget, device = Budget(**old.record["budget"]), recorded_device(old.record["device"])
    options = replace(options, seed=old.record["seed"])
    goal = take_goal(task, device, budget, options.seed, options.observer)
    taken = take_model(model, goal.data, options.name)
    target = options.out or store.next_folder(options.name)
    # What led to the final state is the only proposal of a replay.
    trials = tuple({**t, "proposal": 0} for t in old.record["steps"] if t["final"])
    with _workbench(goal, options, target) as bench:
        original = _original(bench, taken)
        state = bench.state(redone(taken, old.record, goal))
        finished = replace(_measured(bench, original, state), trials=trials)
        if (old.folder / NETWORK).is_dir():
            shutil.copytree(old.folder / NETWORK, target / NETWORK)
        run = write_run(target, finished, options.origin)
    if run.artifact.sha256 != old.artifact.sha256:
        raise NetsukeError(
            f"{target}: its artifact differs from {old.folder}'s; compare their versions"
        )
    return run


@contextmanager
def _workbench(goal: Goal, options: Options, folder: Path) -> Iterator[Workbench]:
    """A workbench with its drafts inside the run's folder, gone when the work is."""
    drafts = folder / "drafts"
    drafts.mkdir(parents=True, exist_ok=True)
    try:
        for note in goal.data.notes:
            options.observer.note(note)
        yield Workbench(goal, _runtime(options.runtime), drafts, options.observer)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)


def _runtime(name: str) -> Runtime:
    return named(Runtime, "netsuke.runtimes", name)()  # type: ignore[type-abstract]


def _folder(options: Options, mark: str) -> Path:
    """Where the run goes: as told, else on with an interrupted run, else the next number."""
    if options.out is not None:
        if (options.out / "manifest.json").exists() and not options.fresh:
            raise NetsukeError(
                f"{options.out}: holds a finished run; choose another --out, or --fresh"
            )
        return options.out
    left = None if options.fresh else store.unfinished(options.name, mark)
    if left is not None:
        options.observer.note(f"{left} was interrupted; going on from its last accepted step")
    return left or store.next_folder(options.name)


def _original(bench: Workbench, model: Model) -> State:
    """The model as it came, exported and measured: what everything is compared with."""
    state = bench.state(model)
    evidence = bench.measure(state, state, bench.goal.data.validate, STEP_PROBES)
    state = replace(state, evidence=evidence)
    bench.observer.baseline(evidence)
    return state


def _facts(original: State, goal: Goal) -> Facts:
    """What the advisor looks at, with what was measured of the original on the device."""
    measured = {
        e.what: e.value for e in original.evidence
        if e.source == "measured" and goal.device.measured and e.what in ("size", "latency_p50", "memory")
    }  # fmt: skip
    return Facts(
        layers=original.artifact.layers, goal=goal, measured=measured, workshop=find_device("local")
    )


def _carve(
    bench: Workbench, original: State, recipes: tuple[Recipe, ...], journal: Journal
) -> tuple[int, State]:
    """The recipes in turn, each from the original, until validation calls one within the limits;
    else the one that came nearest. Returns its number and where it led."""
    gate, reached = Gate(bench, original), []
    for number, recipe in enumerate(recipes):
        reached.append(
            _follow(gate, recipe, number, journal, journal.state(number, bench, original))
        )
        if _excess(reached[-1], bench.goal) <= 1:
            break
        if number + 1 < len(recipes):
            bench.observer.note(
                "not within the limits yet; the next proposal starts from the original"
            )
    best = min(range(len(reached)), key=lambda n: _excess(reached[n], bench.goal))
    return best, reached[best]


def _follow(gate: Gate, recipe: Recipe, number: int, journal: Journal, state: State) -> State:
    """One recipe through the gate, pass by pass; passes decided before an interruption are not
    done again."""
    for index, wanted in enumerate(recipe):
        if journal.passed(number, index):
            continue
        kept = None
        for trial in gate.step(state, wanted):
            journal.add(number, trial)
            kept = trial.state if trial.outcome == "kept" else None
        journal.decide(number, index, kept)
        state = kept or state
    return state


def _excess(state: State, goal: Goal) -> float:
    """How far beyond its worst limit a state is on the validation data: 1 is just within."""
    ratios = [0.0]
    for what, limit in goal.budget.limits().items():
        found = find(state.evidence, what, goal.device.name) or find(state.evidence, what, "local")
        if found is not None:
            ratios.append(found.value / max(limit, 1e-12))
    return max(ratios)


def _measured(bench: Workbench, original: State, state: State) -> Finished:
    """The final evidence. The test data is read here and nowhere else."""
    data, budget = bench.goal.data, bench.goal.budget
    names = tuple(n for n in probes() if n != "quality")
    before = bench.measure(original, original, data.validate, names)
    after = bench.measure(state, original, data.validate, names)
    if data.test is not None:
        before += bench.measure(original, original, data.test, ("quality",))
        after += bench.measure(state, original, data.test, ("quality",))
    return Finished(
        goal=bench.goal,
        original=replace(original, evidence=before),
        final=replace(state, evidence=after),
        verdicts=judge(after, budget, bench.goal.device.name),
    )


def _controlled(bench: Workbench, finished: Finished) -> Finished:
    """With what the training alone was worth among the final evidence."""
    from netsuke.control import beside_control, control, plans

    training = plans(finished.steps)
    if not training:
        bench.observer.note("no control: no step that was kept was trained")
        return finished
    bench.observer.note("training the original as long: the dense control")
    dense = control(finished.original.model, training, bench.goal)
    found = beside_control(bench, finished.original, finished.final, dense)
    final = replace(finished.final, evidence=finished.final.evidence + found)
    return replace(finished, final=final)
