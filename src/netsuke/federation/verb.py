"""``federate``: one network trained by several machines, each on samples of its own."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsuke import store
from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence, find
from netsuke.core.quantity import show
from netsuke.core.task import Task
from netsuke.federation.crew import LOOPBACK, crew, free_port
from netsuke.federation.devices import joined
from netsuke.federation.hall import opened
from netsuke.federation.job import Job
from netsuke.federation.keys import made
from netsuke.federation.members import Members
from netsuke.federation.partition import partition
from netsuke.federation.plan import FEWEST, Plan
from netsuke.federation.progress import Progress
from netsuke.federation.rounds import Rounds
from netsuke.federation.secure import SecureRounds
from netsuke.federation.update import State
from netsuke.intake import take_goal, take_model
from netsuke.passes.quantize.static import Static


@dataclass(frozen=True)
class Federated:
    """What came of a federation. run: the network, beside the one that came. record: as ``federation.json`` holds it."""

    run: store.Run
    record: dict[str, Any]

    @property
    def told(self) -> str:
        """In a line: what was won on the test data, and what it took."""
        rounds = self.record["rounds"]
        up, down = (sum(one["wire"][way] for one in rounds) / 1e6 for way in (0, 1))
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
    logging.getLogger("flwr").setLevel(logging.ERROR)  # what it says of each round, we say
    goal = take_goal(task, "local", Budget(), plan.seed, plan.observer)
    taken = take_model(model, goal.data, "model")
    if not plan.origin.workload:
        raise NetsukeError(
            "federate: clients read the workload from its file; give one (Origin.workload)"
        )
    why = Static(weights=plan.bits).refuse(taken, goal) if plan.bits else None
    if why:
        raise NetsukeError(f"federate: bits = {plan.bits}: {why}")
    shares = [] if plan.on else partition(plan.partition).rows(goal.data, plan.clients, plan.seed)
    plan.out.mkdir(parents=True, exist_ok=True)
    progress = Progress(taken, goal, plan)
    if progress.left:
        samples = [len(rows) for rows in shares]
        with _rounds(plan, taken.network.state_dict(), samples) as rounds:
            progress.go(rounds)
    return Federated(progress.written(), progress.kept.record)


@contextmanager
def _rounds(plan: Plan, taken: State, samples: Sequence[int]) -> Iterator[Rounds]:
    """A server on this machine, and clients here or on paired devices. taken: of the network that all must have. samples: of
    the clients here."""
    folder = plan.out / "machines"
    # A certificate is of an address.
    home = folder / ("keys" if plan.host == LOOPBACK else f"keys-{plan.host}")
    keys = made(home, tuple(dict.fromkeys((plan.host, LOOPBACK, "localhost"))))
    with crew(folder, keys, plan.observer.note) as team, ExitStack() as stack:
        link = team.link(plan.host, free_port(plan.host))
        if plan.on:
            plan.observer.note(f"{', '.join(plan.on)} join")
            stack.enter_context(joined(link, plan.on, folder))
        else:
            plan.observer.note(f"starting {plan.clients} clients on this machine")
            team.clients(link, _job(plan), samples)
        with opened(link) as hall:
            members = Members(hall, taken)
            if plan.secure:
                least = max(plan.least, FEWEST)
                yield SecureRounds(hall, members, least, plan.timeout, team.check)
            else:
                yield Rounds(hall, members, plan.least, plan.timeout, team.check)


def _job(plan: Plan) -> Job:
    return Job(
        workload=str(Path(plan.origin.workload).absolute()), onnx=plan.origin.model and str(Path(plan.origin.model).absolute()),
        partition=plan.partition, clients=plan.clients, seed=plan.seed, secure=plan.secure,
    )  # fmt: skip
