"""The processes of a federation on this machine: a SuperLink, and SuperNodes with trainers behind them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside, write_json
from netsuke.federation.flower import NEVER, SILENT, WAIT
from netsuke.federation.guard import SECRET
from netsuke.federation.hall import Link
from netsuke.federation.job import Job
from netsuke.federation.keys import Keys, admit

LOOPBACK = "127.0.0.1"
LINK = "link"
AGAIN, PAUSE = 12, 7.0
"""How often one that ended is started again, and seconds between: a SuperNode's key is not let in while the SuperLink takes the
one that was killed to be there, a minute."""
BEGUN, ENDED = 60.0, 5.0
"""Seconds in which a server must answer, and in which a process that was told so must end."""


@dataclass
class Crew:
    """Processes that end with it. folder: of their logs and of what Flower keeps. note: told what a person should know."""

    folder: Path
    keys: Keys
    note: Callable[[str], None]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _ends: dict[str, int] = field(default_factory=dict)
    _next: dict[str, float] = field(default_factory=dict)

    def link(self, host: str, port: int) -> Link:
        """Start a SuperLink."""
        keys = self.keys
        self._start(
            LINK, "flower", "link", "--host", host, "--port", str(port), "--isolation", "process",
            "--ssl-ca-certfile", str(keys.authority), "--ssl-certfile", str(keys.certificate),
            "--ssl-keyfile", str(keys.private), "--enable-supernode-auth",
        )  # fmt: skip
        self._answers(LINK, host, port)
        return Link(f"{host}:{port}", keys.authority.read_bytes())

    def clients(self, link: Link, job: Job, samples: Sequence[int]) -> None:
        """Start a client for each of these shares of the job's samples, and have the SuperLink answer them."""
        names = [f"{job.name}-{number + 1}" for number in range(len(samples))]
        for name in names:
            link.admit(admit(self.keys, name).with_suffix(".pub"), name)
        self.join(link, job, dict(zip(names, samples, strict=True)))

    def join(self, link: Link, job: Job, samples: Mapping[str, int]) -> None:
        """Start clients that a SuperLink, here or elsewhere, answers by their keys; of one trainer at most for each core, with
        about as much to do for each. samples: by name."""
        trusted = self.folder / "authority.pem"
        with beside(trusted) as draft:
            draft.write_bytes(link.authority)
        ports = {name: free_port() for name in samples}
        for name, port in ports.items():
            self._start(
                name, "flower", "node", "--superlink", link.address,
                "--root-certificates", str(trusted), "--auth-supernode-private-key", str(admit(self.keys, name)),
                "--host", LOOPBACK, "--port", str(port), "--isolation", "process",
            )  # fmt: skip
        for name, port in ports.items():
            self._answers(name, LOOPBACK, port)
        path = self.folder / f"{job.name}.json"
        write_json(path, asdict(job))
        served = [f"{LOOPBACK}:{port}={number}" for number, port in enumerate(ports.values())]
        trainers = balanced(list(samples.values()), min(len(samples), os.cpu_count() or 1))
        for turn, numbers in enumerate(trainers):
            own = [served[number] for number in numbers]
            self._start(f"{job.name}-trainer-{turn + 1}", "trainer", str(path), *own)

    def check(self) -> None:
        """Start a client or a trainer again that has ended. Raises NetsukeError for one that does so again and again or
        would, and for the SuperLink."""
        for name, process in list(self.processes.items()):
            if process.poll() is None or time.monotonic() < self._next.get(name, 0.0):
                continue
            why = f"{name} ended with {process.returncode}: {_last(self._log(name))} ({self._log(name)})"
            self._ends[name] = self._ends.get(name, 0) + 1
            if name == LINK or process.returncode == NEVER or self._ends[name] > AGAIN:
                raise NetsukeError(f"federate: {why}")
            self._next[name] = time.monotonic() + PAUSE
            self.note(f"{why}; started again")
            self._run(name, process.args)  # type: ignore[arg-type]

    def end(self) -> None:
        for process in self.processes.values():
            process.terminate()
        end = time.monotonic() + ENDED
        for process in self.processes.values():
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, module: str, *arguments: str) -> None:
        self._run(name, [sys.executable, "-m", f"netsuke.federation.{module}", *arguments])

    def _run(self, name: str, command: Sequence[str]) -> None:
        environment = {
            **os.environ, **SILENT, "FLWR_HOME": str(self.folder / "flower"), SECRET: str(self.keys.secret),
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        with self._log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _answers(self, name: str, host: str, port: int) -> None:
        """Wait until something listens there."""
        end = time.monotonic() + BEGUN
        while time.monotonic() < end:
            self.check()
            with socket.socket() as tried:
                if tried.connect_ex((host, port)) == 0:
                    return
            time.sleep(WAIT)
        raise NetsukeError(f"federate: {name} does not answer ({self._log(name)})")


@contextmanager
def crew(folder: Path, keys: Keys, note: Callable[[str], None]) -> Iterator[Crew]:
    """Whatever of it was started ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[SECRET] = str(keys.secret)
    made = Crew(folder, keys, note)
    try:
        yield made
    finally:
        made.end()


def balanced(loads: Sequence[int], groups: int) -> list[list[int]]:
    """The numbers of the loads in as many groups, the largest first to whoever has least (Graham, 1969, "Bounds on
    multiprocessing timing anomalies")."""
    found: list[list[int]] = [[] for _ in range(groups)]
    for number in sorted(range(len(loads)), key=lambda n: -loads[n]):
        min(found, key=lambda group: (sum(loads[n] for n in group), len(group))).append(number)
    return found


def free_port(host: str = LOOPBACK) -> int:
    """Raises NetsukeError where this machine has no such address."""
    with socket.socket() as tried:
        try:
            tried.bind((host, 0))
        except OSError as error:
            raise NetsukeError(
                f"{host}: cannot listen there: {error}; give an address of this machine (--host)"
            ) from error
        return int(tried.getsockname()[1])


def _last(log: Path) -> str:
    """Its last line."""
    lines: Sequence[str] = log.read_text(encoding="utf8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
