"""Fixtures that every test may use."""

import os

# Tests run side by side; one thread each keeps them from slowing one another down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from netsuke.cli import main
from netsuke.probes.latency import Latency
from netsuke.testing.agents import Running, paired


@pytest.fixture(scope="session", autouse=True)
def short_measurements() -> Iterator[None]:
    """Whole walks are tested for what they do, not for how tight their intervals are."""
    usual = Latency.__init__.__defaults__
    Latency.__init__.__defaults__ = (0.4,)
    yield
    Latency.__init__.__defaults__ = usual


@pytest.fixture(autouse=True)
def nothing_of_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was calibrated, and what teachers answered, on the developer's machine is not the tests'."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def netsuke(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Said]:
    """The command line in this process, inside a folder of its own: (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["netsuke", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        seen = capsys.readouterr()
        code = stop.value.code
        return Said(code if isinstance(code, int) else 0, seen.out, seen.err)

    return call


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Running]:
    """A real agent on loopback that this machine is paired with."""
    with paired(tmp_path) as running:
        yield running
