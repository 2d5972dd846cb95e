"""Real agents in processes of their own on loopback, and this machine paired with them: for tests of whatever uses a link."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    host: str = "127.0.0.1"

    @property
    def port(self) -> int:
        return int(self.lines[0].split(",")[0].rpartition(":")[2])

    @property
    def address(self) -> str:
        return f"tcp://{self.host}:{self.port}"

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


def started(
    state: Path, port: int = 0, pair: bool = False, host: str = "127.0.0.1", federate: str = ""
) -> Running:
    """federate: the workload that it may be asked to train on."""
    told = {
        "host": host,
        "port": port,
        "state": str(state),
        "pair": pair,
        "federate": federate,
        "secure": False,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "netsuke.agent", json.dumps(told)], stdout=subprocess.PIPE, text=True
    )
    running = Running(process, state, [], host)
    running.line()
    return running


@contextmanager
def paired(
    folder: Path, name: str = NAME, host: str = "127.0.0.1", federate: str = ""
) -> Iterator[Running]:
    """An agent that knows this machine, and is known to it by this name."""
    state = folder / f"agent-{name}"
    Known(state / "known").add("home", own_keys(keys_file()).public)
    running = started(state, host=host, federate=federate)
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


class Proxy:
    """A way through this process that can be cut. rate: bytes a second that it lets through, each way. address: where it
    begins. cuts: connections that were ended."""

    def __init__(self, address: str, rate: float = float("inf")) -> None:
        host, port = address.removeprefix("tcp://").split(":")
        self._far, self._ends = (host, int(port)), list[socket.socket]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts, self._rate = 0, rate
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection there is; new ones are taken."""
        ends, self._ends = self._ends, []
        self.cuts += len(ends) // 2
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                self._join(self._listener.accept()[0])

    def _join(self, near: socket.socket) -> None:
        """A connection, where there is somebody at the other end."""
        try:
            far = socket.create_connection(self._far)
        except OSError:
            near.close()
            return
        self._ends += [near, far]
        for ends in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=(*ends, self._rate), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, rate: float) -> None:
    """What comes in at one end goes out at the other."""
    with suppress(OSError):  # cut
        while data := source.recv(1 << 14):
            time.sleep(len(data) / rate)
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            # Closing alone tells nobody while another thread reads from it.
            end.shutdown(socket.SHUT_RDWR)
        end.close()
