"""Trials on the machines of a Ray cluster: nothing but text crosses between them."""

import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.observer import Observer
from netsuke.core.recipe import Recipe, read_recipe
from netsuke.intake import take_goal, take_model
from netsuke.study.opened import Opening, opened
from netsuke.study.trial import Outcome, tried
from netsuke.study.workers import Asked, Workers
from netsuke.workload import read_workload

TRIES = 2
"""How often a trial is begun whose machine died."""
POLL, PATIENCE = 2.0, 120.0
"""Seconds between looks at the cluster, and how long one without machines is waited for."""
ANSWERS = 5.0
"""Seconds in which something must answer at the cluster's address."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a machine must know of a study. workload, onnx: paths that lead to the same files on every machine, "" for
    none. limits: by the names of a budget. out: the study's folder; where it is not shared, each machine has its own."""

    workload: str
    onnx: str
    device: str
    limits: Mapping[str, float]
    out: str
    objectives: tuple[str, ...]
    proxy: str
    seed: int


class Machine:
    """What runs on a core of the cluster: a laboratory of its own. job: a Job as JSON."""

    def __init__(self, job: str) -> None:
        asked = Job(**json.loads(job))
        given = read_workload(Path(asked.workload))
        goal = take_goal(given.task, asked.device, Budget(**asked.limits), asked.seed, Observer())
        model = take_model(asked.onnx or given.model, goal.data, "model")
        self._open = ExitStack()
        drafts = Path(self._open.enter_context(tempfile.TemporaryDirectory()))
        opening = Opening(
            out=Path(asked.out), drafts=drafts, objectives=tuple(asked.objectives),
            proxy=asked.proxy, seed=asked.seed,
        )  # fmt: skip
        self._laboratory = self._open.enter_context(opened(model, goal, opening))

    def mark(self) -> str:
        """Of the model, its data and the goal, as this machine reads them."""
        return self._laboratory.prefixes.mark

    def trial(self, recipe: str, rungs: str) -> str:
        """An Outcome as JSON."""
        made = read_recipe(recipe) if recipe else Recipe()
        return json.dumps(tried(made, self._laboratory, json.loads(rungs)).to_dict())


class Cluster(Workers):
    """A trial at a time on each core there is. Cores that come are used, and trials of those that go are begun anew.

    mark: of the driver's own model, data and goal. Raises NetsukeError where a machine reads others.
    """

    def __init__(self, job: Job, mark: str) -> None:
        import ray

        self._ray: Any = ray
        self._job, self._mark = json.dumps(asdict(job)), mark
        self._free: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._busy: dict[Any, tuple[Any, Asked]] = {}
        self._waiting: list[Asked] = []
        self._tries: dict[int, int] = {}
        self._seen = time.monotonic()

    @property
    def room(self) -> int:
        """Of one trial at least while nothing is under way: its machine is waited for."""
        begun = len(self._busy) + len(self._waiting)
        return max(self._cores() - begun, 0 if begun else 1)

    def begin(self, asked: Asked) -> None:
        self._waiting.append(asked)
        self._place()

    def ended(self) -> tuple[Asked, Outcome]:
        """Raises NetsukeError where the cluster has had no machine for a while."""
        while True:
            self._grow()
            self._place()
            refs = [*self._busy, *self._starting]
            ready = self._ray.wait(refs, num_returns=1, timeout=POLL)[0] if refs else []
            for ref in ready:
                if ref in self._starting:
                    self._arrived(ref)
                elif (found := self._finished(ref)) is not None:
                    return found

    def _cores(self) -> int:
        alive = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return int(sum(resources.get("CPU", 0) for resources in alive))

    def _grow(self) -> None:
        """A machine for every core that has none."""
        cores = self._cores()
        if cores:
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > PATIENCE:
            raise NetsukeError(
                "study: the cluster has no machine left; start one and give the same command again"
            )
        else:
            time.sleep(POLL)
        known = len(self._free) + len(self._starting) + len(self._busy)
        for _ in range(cores - known):
            made = self._ray.remote(num_cpus=1)(Machine).remote(self._job)
            self._starting[made.mark.remote()] = made

    def _place(self) -> None:
        while self._free and self._waiting:
            machine, asked = self._free.pop(), self._waiting.pop(0)
            recipe = asked.recipe.to_toml() if asked.recipe.passes else ""
            self._busy[machine.trial.remote(recipe, json.dumps(asked.rungs))] = (machine, asked)

    def _arrived(self, ref: Any) -> None:
        machine = self._starting.pop(ref)
        try:
            mark = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, NetsukeError) else error
            raise NetsukeError(f"study: a machine of the cluster cannot begin: {cause}") from error
        except self._ray.exceptions.RayError:
            return  # it went before it was of use
        if mark != self._mark:
            raise NetsukeError(
                "study: a machine of the cluster reads another model or other data; give it the same files, "
                "a workload that trains its model the trained one"
            )
        self._free.append(machine)

    def _finished(self, ref: Any) -> tuple[Asked, Outcome] | None:
        """What came of a trial; None where it is to be begun again."""
        machine, asked = self._busy.pop(ref)
        try:
            outcome = Outcome(**json.loads(self._ray.get(ref)))
        except self._ray.exceptions.RayError:
            self._tries[asked.number] = self._tries.get(asked.number, 1) + 1
            if self._tries[asked.number] > TRIES:
                return asked, Outcome(reason=f"failed: the machine died, {TRIES} times")
            self._waiting.insert(0, asked)
            return None
        self._free.append(machine)
        return asked, outcome


@contextmanager
def connected(address: str, job: Job, mark: str) -> Iterator[Cluster]:
    """The cluster at ``ray://HOST:PORT``, ``HOST:PORT`` or ``auto``; let go at the end.

    Raises NetsukeError where Ray is not installed, or nothing answers there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise NetsukeError('study: --cluster needs Ray: pip install "netsuke[cluster]"') from error
    _check(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        line = " ".join(str(error).split())
        raise NetsukeError(f"study: --cluster {address}: {line}") from error
    try:
        yield Cluster(job, mark)
    finally:
        ray.shutdown()


def _check(address: str) -> None:
    """Raise where nothing listens: Ray itself would ask for minutes, and end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise NetsukeError(
            f"study: --cluster {address}: no address; give ray://HOST:PORT, HOST:PORT or auto"
        )
    try:
        socket.create_connection((host, int(port)), timeout=ANSWERS).close()
    except OSError as error:
        raise NetsukeError(
            f"study: --cluster {address}: nothing answers there ({error}); start one with ray start --head"
        ) from error
