"""``federate``: one network trained by several machines, each on samples of its own."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flwr.serverapp.strategy import Strategy
from torch import Tensor

from netsuke import store
from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence, find
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.observer import Observer
from netsuke.core.quantity import show
from netsuke.core.task import Task
from netsuke.federation.checkpoint import Checkpoint, resumed
from netsuke.federation.crew import LOOPBACK, crew, free_port
from netsuke.federation.hall import opened
from netsuke.federation.job import Asked, Job, compressor
from netsuke.federation.keys import made
from netsuke.federation.members import Members
from netsuke.federation.partition import partition
from netsuke.federation.rounds import Round, Rounds
from netsuke.federation.strategies import Aggregation, moments, remember, strategy
from netsuke.federation.update import learned
from netsuke.fitting import Options, measured, original_state, workbench
from netsuke.intake import take_goal, take_model
from netsuke.journal import fingerprint
from netsuke.nets.evaluation import evaluate
from netsuke.nets.graph import clone
from netsuke.record import Origin, write_run

REDRAWN = 60.0
"""Seconds after which the page of a federation under way is drawn again."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a federation trains.

    rounds: in all, those of an interrupted call too. clients: started on this machine, among which ``partition`` shares out
    the workload's training samples ("even", "dirichlet:0.5", "owners"). epochs, lr, batch: of a client's training in
    a round; the rate falls over the rounds like a cosine. compress: what is sent up ("full", "int8", "int4", "int2", "ternary",
    "sign", "topk:0.01"). least: clients that a round needs. timeout: seconds that so many are waited for.
    """

    out: Path
    rounds: int = 10
    clients: int = 2
    partition: str = "even"
    aggregation: Aggregation = field(default_factory=Aggregation)
    epochs: int = 1
    lr: float = 0.05
    batch: int = 32
    compress: str = "full"
    least: int = 2
    timeout: float = 600.0
    seed: int = 0
    origin: Origin = field(default_factory=Origin)
    observer: Observer = field(default_factory=Observer)

    def __post_init__(self) -> None:
        for name in ("rounds", "clients", "epochs", "batch", "least"):
            if getattr(self, name) < 1:
                raise NetsukeError(f"federate: {name} = {getattr(self, name)}; give 1 or more")
        if self.least > self.clients:
            raise NetsukeError(
                f"federate: {self.least} clients are needed and {self.clients} asked; give fewer (least)"
            )
        partition(self.partition)
        compressor(self.compress)


@dataclass(frozen=True)
class Federated:
    """What came of a federation. run: the network, beside the one that came. record: as ``federation.json`` holds it."""

    run: store.Run
    record: dict[str, Any]

    @property
    def told(self) -> str:
        """In a line: what was won on the test data, and what it took."""
        rounds = self.record["rounds"]
        up, down = (sum(one[way] for one in rounds) / 1e6 for way in ("up", "down"))
        before, after = (
            find(tuple(Evidence(**e) for e in self.run.record[state]["evidence"]), "quality")
            for state in ("baseline", "final")
        )
        won = ""
        if before and after:
            name = self.run.record["metric"]["name"]
            won = f"{name} {show(before.value, before.unit)} → {show(after.value, after.unit)} on {after.samples:,} samples; "
        return f"{won}{len(rounds)} rounds, {up:.3g} MB up, {down:.3g} MB down"


def federate(model: Any, task: Task, plan: Plan) -> Federated:
    """Train a model over clients that keep their samples; what comes of it as a run, beside the model as it came.

    The best round on validation is kept. The same call goes on after its last round where it was interrupted.
    Raises NetsukeError for data that cannot be shared out so, another federation in the folder, clients of another
    model, and too few that answer.
    """
    goal = take_goal(task, "local", Budget(), plan.seed, plan.observer)
    taken = take_model(model, goal.data, "model")
    if not plan.origin.workload:
        raise NetsukeError(
            "federate: clients read the workload from its file; give one (Origin.workload)"
        )
    partition(plan.partition).rows(goal.data, plan.clients, plan.seed)
    plan.out.mkdir(parents=True, exist_ok=True)
    progress = Progress(taken, goal, plan)
    if progress.left:
        with _rounds(plan, progress) as rounds:
            progress.go(rounds)
    return Federated(progress.written(), progress.kept.record)


class Progress:
    """A federation under way: its network, and what came of each round."""

    def __init__(self, taken: Model, goal: Goal, plan: Plan) -> None:
        self._taken, self._goal, self._plan = taken, goal, plan
        self._network = clone(taken.network)
        statistics = frozenset(name for name, _ in self._network.named_buffers())
        self.strategy: Strategy = strategy(plan.aggregation, plan.clients, statistics)
        mark = hashlib.sha256(
            f"{fingerprint(taken, goal, None)} {_told(plan)}".encode()
        ).hexdigest()
        metric = goal.data.metric
        about = {"metric": {"name": metric.name, "unit": metric.unit}, "settings": _settings(plan)}
        found = resumed(plan.out, mark, about)
        self.kept = found or Checkpoint(plan.out, mark, about, first=self._score())
        self.best = self.state
        if found is not None:
            state, self.best, beside = found.states()
            self._network.load_state_dict(state, strict=False)
            remember(self.strategy, beside)

    @property
    def state(self) -> dict[str, Tensor]:
        """What is learned of the network now."""
        return {name: t.clone() for name, t in learned(self._network.state_dict()).items()}

    @property
    def left(self) -> int:
        """Rounds to come."""
        return self._plan.rounds - len(self.kept.rounds)

    def go(self, rounds: Rounds) -> None:
        """All of them, each kept as it ends."""
        observer = self._plan.observer
        rounds.gather(self._plan.clients)
        for line in rounds.members.told():
            observer.note(line)
        drawn = time.monotonic()
        numbers = range(len(self.kept.rounds) + 1, self._plan.rounds + 1)
        for number in observer.track(numbers, "rounds"):
            state, came = rounds.play(self.state, self._asked(number))
            self._network.load_state_dict(state, strict=False)
            score = self._score()
            if self._is_best(score):
                self.best = self.state
            self.kept.rounds.append({**asdict(came), "score": score})
            self.kept.keep(self.state, self.best, moments(self.strategy))
            if time.monotonic() - drawn > REDRAWN:
                self.kept.draw()
                drawn = time.monotonic()
            for line in (*rounds.members.told(), _said(came, score, self._goal)):
                observer.note(line)

    def written(self) -> store.Run:
        """The best of it as a run: exported, measured on the test data, beside the model as it came."""
        plan, goal = self._plan, self._goal
        self.kept.draw()
        network = clone(self._taken.network)
        network.load_state_dict(self.best, strict=False)
        step = Step(name="federate", settings=_settings(plan), summary=self._summary())
        options = Options(out=plan.out, seed=plan.seed, observer=plan.observer)
        with workbench(goal, options, plan.out) as bench:
            original = original_state(bench, self._taken)
            state = bench.state(self._taken.then(network, step))
            return write_run(plan.out, measured(bench, original, state), plan.origin)

    def _asked(self, number: int) -> Asked:
        plan = self._plan
        rate = 0.5 * plan.lr * (1 + math.cos(math.pi * (number - 1) / plan.rounds))
        return Asked(
            round=number, epochs=plan.epochs, lr=rate, batch=plan.batch, pull=plan.aggregation.pull,
            by=plan.compress, seed=plan.seed,
        )  # fmt: skip

    def _score(self) -> float:
        return evaluate(self._network, self._goal.data.validate, self._goal.data.metric)

    def _is_best(self, score: float) -> bool:
        sign = 1 if self._goal.data.metric.higher else -1
        earlier = [self.kept.first, *(one["score"] for one in self.kept.rounds)]
        return bool(sign * score >= max(sign * one for one in earlier))

    def _summary(self) -> str:
        scores = [self.kept.first, *(one["score"] for one in self.kept.rounds)]
        up = sum(one["up"] for one in self.kept.rounds)
        best = (max if self._goal.data.metric.higher else min)(scores)
        name = self._goal.data.metric.name
        return (
            f"{len(scores) - 1} rounds of {self._plan.clients} clients, {up / 1e6:.3g} MB up; "
            f"{name} on validate {scores[0]:.4g} → {best:.4g}"
        )


@contextmanager
def _rounds(plan: Plan, progress: Progress) -> Iterator[Rounds]:
    """A server and clients on this machine."""
    folder = plan.out / "machines"
    keys = made(folder / "keys", (LOOPBACK, "localhost"))
    job = Job(
        workload=str(Path(plan.origin.workload).absolute()), onnx=plan.origin.model and str(Path(plan.origin.model).absolute()),
        partition=plan.partition, clients=plan.clients, seed=plan.seed,
    )  # fmt: skip
    plan.observer.note(f"starting {plan.clients} clients on this machine")
    logging.getLogger("flwr").setLevel(logging.ERROR)  # what it says of each round, we say
    with crew(folder, keys) as team:
        link = team.link(LOOPBACK, free_port())
        team.clients(link, job, plan.clients)
        with opened(link) as hall:
            members = Members(hall, progress.state)
            yield Rounds(hall, members, progress.strategy, plan.least, plan.timeout, team.check)


def _settings(plan: Plan) -> dict[str, Any]:
    """What makes two federations the same, but for how long they go on."""
    names = ("clients", "partition", "epochs", "lr", "batch", "compress", "seed", "rounds")
    return {name: getattr(plan, name) for name in names} | asdict(plan.aggregation)


def _told(plan: Plan) -> str:
    return json.dumps(_settings(plan), sort_keys=True)


def _said(came: Round, score: float, goal: Goal) -> str:
    """A line on a round."""
    parts = [
        f"round {came.number}: {goal.data.metric.name} {score:.4g} on validate, {len(came.heard)} clients, "
        f"{came.up / 1e3:,.0f} kB up, {came.seconds:.1f} s"
    ]
    parts += [f"{name} rejected: {why}" for name, why in came.rejected.items()]
    if came.late:
        parts.append(f"not waited for: {', '.join(came.late)}")
    return "; ".join(parts)
