"""One fit: proposals in turn through the gate, each from the original, and what came of them measured."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from netsuke import store
from netsuke.advisor.advice import Advice
from netsuke.advisor.facts import INTEGERS, Facts
from netsuke.advisor.propose import propose
from netsuke.core.budget import Budget
from netsuke.core.check import Check
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence, find
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.observer import Observer
from netsuke.core.recipe import Recipe, make_pass, read_recipe
from netsuke.core.registry import registered
from netsuke.core.runtime import runtime_named
from netsuke.core.team import ALONE, Team
from netsuke.core.verdict import Verdict
from netsuke.devices import device as find_device
from netsuke.explain import keep
from netsuke.gate import Gate
from netsuke.journal import Journal, fingerprint
from netsuke.nets.together import agreed
from netsuke.record import Finished, Origin, write_run
from netsuke.workbench import STEP_PROBES, Shared, State, Workbench, probes

MEASURED = ("size", "latency_p50", "latency_p95", "memory")
"""What the advisor corrects its estimates by."""
FEW = 32
"""Samples that give the ranges of what is only timed."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a fit is run, apart from what is wanted.

    out: the run's folder; None takes ``runs/NAME-n``. fresh: start over where an interrupted run
    could be resumed. control: also train the original as the kept steps were, and compare with it.
    origin: where the model and the task came from. runtime: where artifacts run. team: the processes that do it
    together (``nets.together.launched``), each of which calls with the same.
    """

    name: str = "model"
    out: Path | None = None
    seed: int = 0
    fresh: bool = False
    control: bool = False
    origin: Origin = field(default_factory=Origin)
    runtime: str = "onnxruntime"
    observer: Observer = field(default_factory=Observer)
    team: Team = ALONE


def fitted(
    taken: Model, goal: Goal, recipe: Recipe | None, options: Options, shared: Shared
) -> store.Run:
    """One model, one goal."""
    mark = fingerprint(taken, goal, recipe)
    with _place(options, mark) as folder, workbench(goal, options, folder, shared) as bench:
        journal = Journal.resume(store.Progress(folder), mark)
        original = original_state(bench, taken)
        advice = None if recipe else propose(facts_of(bench, original))
        recipes = (recipe,) if recipe else _wanted(advice, goal.team)
        chosen, state = _carve(bench, original, recipes, journal)
        finished = measured(bench, original, state)
        finished = replace(finished, trials=tuple(journal.trials), chosen=chosen, advice=advice)
        if options.control:
            finished = _controlled(bench, finished)
        keep(folder, state.model, journal.source(chosen, original))
        run = write_run(folder, finished, options.origin)
        journal.progress.clear()
    return run


@contextmanager
def _place(options: Options, mark: str) -> Iterator[Path]:
    """The run's folder; for those of a team who do not lead a copy of what is in it, which goes at the end."""
    team = options.team
    folder = Path(agreed(team, lambda: str(_folder(options, mark))))
    if team.leads:
        agreed(team, lambda: None)  # till all have their copy
        yield folder
        return
    with tempfile.TemporaryDirectory() as private:
        if folder.exists():
            shutil.copytree(folder, private, dirs_exist_ok=True)
        agreed(team, lambda: None)
        yield Path(private)


def _wanted(advice: Advice | None, team: Team) -> tuple[Recipe, ...]:
    """The advisor's recipes, for all of a team the leader's."""
    assert advice is not None, "asked where no recipe is given"
    texts = agreed(team, lambda: [p.recipe.to_toml() for p in advice.proposals])
    return tuple(read_recipe(text) for text in texts)


@contextmanager
def workbench(
    goal: Goal, options: Options, folder: Path, shared: Shared | None = None
) -> Iterator[Workbench]:
    """A workbench with its drafts inside the run's folder, gone when the work is."""
    drafts = folder / "drafts"
    drafts.mkdir(parents=True, exist_ok=True)
    try:
        for note in goal.data.notes:
            options.observer.note(note)
        made = Workbench(goal, runtime_named(options.runtime), drafts, options.observer, shared)
        with closing(made):
            yield made
    finally:
        shutil.rmtree(drafts, ignore_errors=True)


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


def original_state(bench: Workbench, model: Model) -> State:
    """The model as it came, exported and measured: what everything is compared with."""
    state = bench.state(model)
    evidence = bench.measure(state, state, bench.goal.data.validate, STEP_PROBES)
    state = replace(state, evidence=evidence)
    bench.observer.baseline(evidence)
    return state


def facts_of(bench: Workbench, original: State) -> Facts:
    """What the advisor looks at, with what was measured of the original on the device."""
    goal = bench.goal
    measured = {
        e.what: e.value for e in original.evidence
        if e.source == "measured" and goal.device.measured and e.what in MEASURED
    }  # fmt: skip
    return Facts(
        layers=original.artifact.layers, goal=goal, measured=measured | _integers(bench, original),
        workshop=goal.device if goal.device.measured else find_device("local"),
    )  # fmt: skip


def _integers(bench: Workbench, original: State) -> dict[str, float]:
    """How long the original takes in INT8, by ranges of a few samples, where it can be timed: how quick the
    kernels of integers are does not show in floats."""
    wanted, device = make_pass("quantize.static", {"samples": FEW}), bench.goal.device
    base = find(original.evidence, "latency_p50", device.name)
    if not device.measured or base is None or wanted.refuse(original.model, bench.goal):
        return {}
    state = bench.state(wanted.apply(original.model, bench.goal))
    found = bench.measure(state, original, None, ("latency",))
    ratio = find(found, "speedup", device.name)
    return {} if ratio is None else {INTEGERS: base.value / ratio.value}


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


def judge(
    evidence: tuple[Evidence, ...], budget: Budget, device: str = "local"
) -> tuple[Verdict, ...]:
    """Every check's verdicts on the evidence about one device."""
    checks = registered(Check, "netsuke.checks")
    return tuple(v for check in checks.values() for v in check().judge(evidence, budget, device))


def _excess(state: State, goal: Goal) -> float:
    """How far beyond its worst limit a state is on the validation data: 1 is just within."""
    ratios = [0.0]
    for what, limit in goal.budget.limits().items():
        found = find(state.evidence, what, goal.device.name) or find(state.evidence, what, "local")
        if found is not None:
            ratios.append(found.value / max(limit, 1e-12))
    return max(ratios)


def measured(bench: Workbench, original: State, state: State) -> Finished:
    """The final evidence. The test data is read here and nowhere else."""
    data, budget = bench.goal.data, bench.goal.budget
    names = tuple(n for n in probes() if n != "quality")
    before = bench.prove(original, original, data.validate, names)
    after = bench.prove(state, original, data.validate, names)
    if data.test is not None:
        before += bench.prove(original, original, data.test, ("quality",))
        after += bench.prove(state, original, data.test, ("quality",))
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
