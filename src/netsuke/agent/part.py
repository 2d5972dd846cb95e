"""A network that answers calls, in a process of its own: ``python -m netsuke.agent.part PART.json``.

PART.json says which artifact, at which address, for whose keys, under how many bytes of resident memory. One line of
JSON goes to stdout when it is ready: ``{"address": …, "memory": bytes}``, or ``{"error": …}``.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import zmq

from netsuke.agent.parent import end_with_parent
from netsuke.core.artifact import Artifact, check_whole
from netsuke.core.errors import NetsukeError
from netsuke.core.feed import example
from netsuke.core.quantity import show
from netsuke.core.registry import named
from netsuke.core.runtime import Runtime, Session
from netsuke.wire.keys import Keys, Known, own_keys
from netsuke.wire.message import Message, arrays_of, with_arrays
from netsuke.wire.service import Service
from netsuke.wire.sockets import Door, listening

LEAVING = 5.0
"""Seconds until an address that is taken counts as taken for good."""
TICK = 500
"""Milliseconds between looks at what else there is to do."""


def main(arguments: list[str]) -> int:
    """Serves until it is told to end (SIGTERM)."""
    end_with_parent()
    told = json.loads(Path(arguments[0]).read_text(encoding="utf8"))
    try:
        served = _Served(told)
    except (NetsukeError, OSError, zmq.ZMQError, MemoryError) as error:
        print(json.dumps({"error": str(error) or type(error).__name__}), flush=True)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: served.end())
    print(json.dumps({"address": served.address, "memory": served.memory}), flush=True)
    served.loop()
    return 0


class _Served:
    """A session behind a socket."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        artifact = Artifact.from_dict(told["artifact"], Path(told["folder"]))
        check_whole(artifact)
        self._session = _opened(artifact, told["threads"])
        self.memory = psutil.Process().memory_info().rss
        if told["memory"] is not None and self.memory > told["memory"]:
            raise NetsukeError(
                f"{told['name']}: takes {show(self.memory, 'B')} of memory, its limit is {show(told['memory'], 'B')}"
            )
        self._context = zmq.Context[zmq.Socket[bytes]]()
        known, guests = Known(Path(told["known"])), frozenset(told["guests"])
        self._door = Door(
            self._context, lambda _, key: key in guests or known.name_of(key) is not None
        )
        socket, self.address = listening(
            self._context, own_keys(Path(told["keys"])), told["address"]
        )
        self._service = Service(socket, {"run": self._run})
        self._idle, self._asked = told["idle"], time.monotonic()
        self._on = True

    def end(self) -> None:
        self._on = False

    def loop(self) -> None:
        poller = zmq.Poller()
        for socket in (self._door.socket, self._service.socket):
            poller.register(socket, zmq.POLLIN)
        while self._on and not self._forgotten():
            for socket, _ in poller.poll(TICK):
                if socket is self._door.socket:
                    self._door.answer()
                else:
                    self._service.turn()

    def _forgotten(self) -> bool:
        """Whether nobody has called for as long as it is kept for."""
        return self._idle is not None and time.monotonic() - self._asked > self._idle

    def _run(self, asked: Message) -> Message:
        self._asked = time.monotonic()
        return with_arrays({}, self._session.run(arrays_of(asked)))


def _bound(
    context: zmq.Context[zmq.Socket[bytes]], keys: Keys, address: str
) -> tuple[zmq.Socket[bytes], str]:
    """Listening. One that this takes the place of may still be about to end."""
    end = time.monotonic() + LEAVING
    while True:
        try:
            return listening(context, keys, address)
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE or time.monotonic() > end:
                raise
            time.sleep(0.1)


def _opened(artifact: Artifact, threads: int) -> Session:
    """Loaded, and called once: a first call is slow, and what is wrong with the file shows."""
    runtime = named(Runtime, "netsuke.runtimes", artifact.runtime)()  # type: ignore[type-abstract]
    session = runtime.open(artifact, threads)
    session.run(example(artifact))
    return session


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
