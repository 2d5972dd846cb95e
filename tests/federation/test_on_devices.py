"""Clients on paired devices: real agents, each with data of its owner's."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from tests.federation.test_members import written

from netsuke import NetsukeError
from netsuke.core.observer import Observer
from netsuke.federation.plan import Plan
from netsuke.federation.verb import Federated, federate
from netsuke.links.book import Entry, write
from netsuke.record import Origin
from netsuke.testing.agents import Running, paired
from netsuke.wire.keys import own_keys
from netsuke.workload import read_workload

NAMES = ("pi1", "pi2")


class Noted(Observer):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def workload(tmp_path: Path) -> str:
    return written(tmp_path, "plain")


@pytest.fixture
def agents(tmp_path: Path, workload: str) -> Iterator[dict[str, Running]]:
    """The first has more samples than the second; a third one's owner let it take part in nothing."""
    few = "lambda: netsuke.Task(train=workload_tiny.arrays(100, 5), validate=workload_tiny.arrays(8, 1))"
    with ExitStack() as stack:
        files = {"pi1": workload, "pi2": written(tmp_path, "few", task=few), "shy": ""}
        yield {
            name: stack.enter_context(paired(tmp_path, name, federate=file))
            for name, file in files.items()
        }


def trained(folder: Path, workload: str, **how: object) -> Federated:
    given = read_workload(Path(workload))
    settings = {"rounds": 4, "lr": 0.1, "clients": 2, "on": NAMES, "compress": "int8", **how}
    plan = Plan(out=folder, origin=Origin(workload=workload), **settings)
    return federate(given.model, given.task, plan)


def below(running: Running) -> list[str]:
    return [" ".join(p.cmdline()) for p in psutil.Process(running.process.pid).children(recursive=True)]  # fmt: skip


def test_devices_train_on_data_of_their_own(
    tmp_path: Path, workload: str, agents: dict[str, Running]
) -> None:
    watch = Noted()
    found = trained(tmp_path / "out", workload, observer=watch)
    rounds = found.record["rounds"]
    assert all(set(one["heard"]) == set(NAMES) for one in rounds)
    assert rounds[-1]["score"] > 0.9
    assert found.record["settings"]["partition"] == "their own"
    assert "pi1, pi2 join" in watch.said
    # Keys were made there, and their private halves stayed.
    for name in NAMES:
        own = agents[name].state / "federation" / "keys" / f"client-{name}"
        assert own.stat().st_mode & 0o077 == 0
        assert not list((tmp_path / "out").rglob(f"client-{name}"))
    for name in NAMES:  # nothing of it is left
        psutil.wait_procs(psutil.Process(agents[name].process.pid).children(), timeout=15)
        assert not [line for line in below(agents[name]) if "federation" in line]
    # Asked again, nothing is done twice.
    assert trained(tmp_path / "out", workload).record["rounds"] == rounds


def test_who_was_not_asked_by_its_owner_takes_no_part(
    tmp_path: Path, workload: str, agents: dict[str, Running]
) -> None:
    with pytest.raises(NetsukeError, match="shy: takes part in no federation; its owner may start it with netsuke agent --federate"):  # fmt: skip
        trained(tmp_path / "out", workload, on=("pi1", "shy"))


def test_what_is_wrong_with_a_devices_workload_is_said(tmp_path: Path, workload: str) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("def model(): ...\n")
    with (
        paired(tmp_path, "pi1", federate=workload),
        paired(tmp_path, "pi2", federate=str(broken)),
        pytest.raises(NetsukeError, match=r"pi2: .*broken.py: has no function task\(\)"),
    ):
        trained(tmp_path / "out", workload)


def test_a_device_elsewhere_cannot_reach_loopback(tmp_path: Path, workload: str) -> None:
    write("far", Entry("tcp://192.0.2.7:5747", own_keys(tmp_path / "keys.toml").public))
    with pytest.raises(NetsukeError, match=r"far cannot reach 127.0.0.1:\d+; give an address"):
        trained(tmp_path / "out", workload, on=("far", "pi1"))


@pytest.mark.parametrize(
    ("on", "clients"), [(("pi1", "pi1"), 2), (("pi1", "pi2"), 3), (("pi1",), 1)]
)
def test_devices_are_counted(tmp_path: Path, on: tuple[str, ...], clients: int) -> None:
    with pytest.raises(NetsukeError, match="give each device once|are needed and 1 asked"):
        Plan(out=tmp_path, on=on, clients=clients)


def test_an_address_that_is_not_ours(tmp_path: Path, workload: str) -> None:
    with pytest.raises(NetsukeError, match="192.0.2.9: cannot listen there: .*--host"):
        trained(tmp_path / "out", workload, host="192.0.2.9", on=())
