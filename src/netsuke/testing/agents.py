"""Real agents in processes of their own on loopback, and this machine paired with them: for tests of whatever uses a link."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from netsuke.links.book import Entry, keys_file, write
from netsuke.wire.caller import Caller
from netsuke.wire.keys import Known, own_keys

NAME = "kitchen-pi"


@dataclass
class Running:
    """An agent's process. port: of its socket. lines: what it has printed so far."""

    process: subprocess.Popen[str]
    state: Path
    lines: list[str]

    @property
    def port(self) -> int:
        return int(self.lines[0].split(",")[0].rpartition(":")[2])

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def caller(self) -> Caller:
        """This machine's own calls, with the keys it paired with."""
        theirs = own_keys(self.state / "keys.toml").public
        return Caller(own_keys(keys_file()), theirs, self.address, NAME)

    def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        self.lines.append(self.process.stdout.readline())
        return self.lines[-1]

    def kill(self) -> None:
        """Without a word, and until nothing it started is left."""
        if self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            self.process.wait()
            _, alive = psutil.wait_procs(children, timeout=5)
            assert not alive, "what an agent starts ends with it"


def started(state: Path, port: int = 0, pair: bool = False) -> Running:
    told = {"host": "127.0.0.1", "port": port, "state": str(state), "pair": pair}
    process = subprocess.Popen(
        [sys.executable, "-m", "netsuke.agent", json.dumps(told)], stdout=subprocess.PIPE, text=True
    )
    running = Running(process, state, [])
    running.line()
    return running


@contextmanager
def paired(folder: Path, name: str = NAME) -> Iterator[Running]:
    """An agent that knows this machine, and is known to it by this name."""
    state = folder / f"agent-{name}"
    Known(state / "known").add("home", own_keys(keys_file()).public)
    running = started(state)
    write(name, Entry(running.address, own_keys(state / "keys.toml").public))
    try:
        yield running
    finally:
        running.kill()


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that is about to be."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.02)
