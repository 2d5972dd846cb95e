"""Who may take part: a real SuperLink, and clients that should not be there."""

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from netsuke import NetsukeError
from netsuke.core.budget import Budget
from netsuke.core.observer import Observer
from netsuke.federation import keys
from netsuke.federation.client import Client
from netsuke.federation.clock import check_clock
from netsuke.federation.crew import LOOPBACK, Crew, crew, free_port
from netsuke.federation.hall import Link, opened
from netsuke.federation.job import Job
from netsuke.federation.members import Members
from netsuke.intake import take_goal, take_model
from netsuke.workload import read_workload

TESTS = Path(__file__).parents[1]
PLAIN = "def model():\n    torch.manual_seed(0)\n    return workload_tiny.Tiny()\n"
THREE = PLAIN.replace("return workload_tiny.Tiny()", "net = workload_tiny.Tiny()\n    net.linear = torch.nn.Linear(32, 3)\n    return net")  # fmt: skip
LONG = 60.0


def written(folder: Path, name: str, model: str = PLAIN, task: str = "workload_tiny.task") -> str:
    path = folder / f"{name}.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(TESTS)!r})\nimport torch\nimport netsuke\nimport workload_tiny\n"
        f"task = {task}\n\n\n{model}"
    )
    return str(path)


class Team:
    """A SuperLink, clients of several jobs, and what was said of them."""

    def __init__(self, folder: Path, team: Crew, link: Link, said: list[str]) -> None:
        self.folder, self.team, self.link, self.said = folder, team, link, said

    def start(self, name: str, workload: str, partition: str = "even") -> None:
        job = Job(workload=workload, partition=partition, clients=1, name=name)
        self.team.clients(self.link, job, [1])

    def until(self, members: Members, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + LONG
        while not ready():
            assert time.monotonic() < end, (members.known, members.refused, self.said)
            self.team.check()
            members.here()
            self.said += members.told()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("members")
    said: list[str] = []
    own = keys.made(folder / "keys", (LOOPBACK, "localhost"))
    with crew(folder / "machines", own, said.append) as started:
        link = started.link(LOOPBACK, free_port())
        yield Team(folder, started, link, said)


def test_who_may_not_take_part_is_told_why(team: Team) -> None:
    workload = written(team.folder, "plain")
    team.start("good", workload)
    team.start("other", written(team.folder, "three", THREE))
    team.start(
        "good-1", workload, partition=""
    )  # all of its samples are its own, and its name is taken
    given = read_workload(Path(workload))
    goal = take_goal(given.task, "local", Budget(), 0, Observer())
    mine = take_model(given.model, goal.data, "model").network.state_dict()
    with opened(team.link) as hall:
        members = Members(hall, mine)
        team.until(members, lambda: len(members.refused) == 2)
        assert [member.name for member in members.here()] == ["good-1"]
        why = " | ".join(team.said)
        assert "client other-1 may not take part: its network is another" in why
        assert (
            "linear.bias is 3 there, 2 here" in why
            or "linear.weight is 3×32 there, 2×32 here" in why
        )
        assert (
            "client good-1 may not take part: another client of this name is there; give each its own"
            in why
        )


@pytest.mark.parametrize(("off", "way"), [(1000, "ahead of"), (-1000, "behind")])
def test_a_clock_that_is_wrong(
    team: Team, monkeypatch: pytest.MonkeyPatch, off: int, way: str
) -> None:
    """Flower would have its SuperNode end without a word."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "later"))
    monkeypatch.setenv("LATER", str(off))
    name, why = f"is-{way.split()[0]}", rf"this machine's clock is [0-9,]+ s {way} the server's at"
    with pytest.raises(NetsukeError, match=rf"{name}-1 ended with 2: {why}.*; set it right"):
        team.start(name, written(team.folder, "plain"))
    for process in [p for p in team.team.processes if p.startswith(name)]:
        del team.team.processes[process]


def test_a_clock_before_the_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "HOUR", datetime.timedelta(hours=-2))
    own = keys.made(tmp_path, (LOOPBACK,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.certificate, own.private)
    with socket.create_server((LOOPBACK, 0)) as listening:
        address = f"{LOOPBACK}:{listening.getsockname()[1]}"

        def answer() -> None:
            with (
                suppress(ssl.SSLError),
                context.wrap_socket(listening.accept()[0], server_side=True),
            ):
                pass

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(
            NetsukeError, match=rf"the certificate of {address} is not valid now; set it right"
        ):
            check_clock(address, own.authority)


def test_a_client_with_next_to_nothing(tmp_path: Path) -> None:
    few = "lambda: netsuke.Task(train=workload_tiny.arrays(1, 0), validate=workload_tiny.arrays(8, 1))"
    job = Job(workload=written(tmp_path, "few", task=few), name="kitchen")
    with pytest.raises(
        NetsukeError, match="federate: kitchen has 1 training samples; 2 are the least"
    ):
        Client(job, 0)
