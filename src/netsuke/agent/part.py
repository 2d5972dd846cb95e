"""A network that answers calls, in a process of its own: ``python -m netsuke.agent.part PART.json``.

PART.json says which artifact, at which address, for whose keys, under how many bytes of resident memory. One line of
JSON goes to stdout when it is ready: ``{"address": …, "memory": bytes}``, or ``{"error": …}``.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from netsuke.agent.parent import end_with_parent
from netsuke.agent.resident import resident
from netsuke.agent.stage import Stage
from netsuke.core.artifact import Artifact, check_whole
from netsuke.core.errors import NetsukeError
from netsuke.core.feed import ones
from netsuke.core.head import Head
from netsuke.core.quantity import show
from netsuke.core.runtime import Session, runtime_named
from netsuke.wire.keys import Keys, Known, own_keys
from netsuke.wire.message import Message
from netsuke.wire.onward import Onward, patience_of
from netsuke.wire.service import Service
from netsuke.wire.sockets import Door, listening

LEAVING = 5.0
"""Seconds until an address that is taken counts as taken for good."""
TICK = 100
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
    gc.freeze()  # what is loaded stays: looking through it again and again would hold up calls
    print(json.dumps({"address": served.address, "memory": served.memory}), flush=True)
    served.loop()
    return 0


class _Served:
    """A session behind a socket; where it is one part of a network, on to the next."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        artifact = Artifact.from_dict(told["artifact"], Path(told["folder"]))
        check_whole(artifact)
        self._stage = _stage(artifact, told)
        self.memory = resident(os.getpid())
        if told["memory"] is not None and self.memory > told["memory"]:
            raise NetsukeError(
                f"{told['name']}: takes {show(self.memory, 'B')} of memory, its limit is {show(told['memory'], 'B')}"
            )
        self._context, keys = zmq.Context[zmq.Socket[bytes]](), own_keys(Path(told["keys"]))
        known, guests = Known(Path(told["known"])), frozenset(told["guests"])
        self._door = Door(
            self._context, lambda _, key: key in guests or known.name_of(key) is not None
        )
        socket, self.address = _bound(self._context, keys, told["address"])
        self._service = Service(socket, {"run": self._run, "load": self._load})
        next_one = told["next"]
        self._onward = (
            Onward(self._context, keys, next_one, self._service.reply) if next_one else None
        )
        self._idle, self._asked = told["idle"], time.monotonic()
        self._calls, self._seconds = 0, 0.0
        self._on = True

    def end(self) -> None:
        self._on = False

    def loop(self) -> None:
        poller, turns = zmq.Poller(), {self._door.socket: self._door.answer}
        if self._onward is not None:
            turns |= {
                self._onward.socket: self._onward.answered,
                self._onward.monitor: self._onward.changed,
            }
        for socket in turns:
            poller.register(socket, zmq.POLLIN)
        turns[self._service.socket] = self._service.turn
        while self._on and not self._forgotten():
            # Where too much is under way nothing is taken: it waits with those who ask.
            full = self._onward is not None and self._onward.full
            poller.register(self._service.socket, 0 if full else zmq.POLLIN)
            for socket, _ in poller.poll(TICK):
                turns[socket]()
            if self._onward is not None:
                self._onward.turn()

    def _forgotten(self) -> bool:
        """Whether nobody has called for as long as it is kept for."""
        return self._idle is not None and time.monotonic() - self._asked > self._idle

    def _run(self, asked: Message) -> Message | None:
        self._asked = time.monotonic()
        made = self._timed(asked)
        if self._onward is None:
            return made
        early = self._stage.early(made)
        if early is None:
            rescue = partial(self._stage.alone, asked) if self._stage.whole else None
            self._onward.send(self._service.asker, made, patience_of(asked), rescue)
        return early

    def _timed(self, asked: Message) -> Message:
        start = time.perf_counter()
        made = self._stage.run(asked)
        self._calls, self._seconds = self._calls + 1, self._seconds + time.perf_counter() - start
        return made

    def _load(self, asked: Message) -> Message:
        """How often it was called so far, and the seconds that took, the ways not counted."""
        return Message({"calls": self._calls, "seconds": self._seconds})


def _stage(artifact: Artifact, told: Mapping[str, Any]) -> Stage:
    folder, threads = Path(told["folder"]), told["threads"]
    head, whole = None, None
    if told["head"] is not None:
        head = Head.load(folder / told["head"])
    if told["fallback"] is not None:
        fallback = Artifact.from_dict(told["fallback"], folder)
        check_whole(fallback)
        whole = _opened(fallback, threads)
    reads = [name for name, _, _ in artifact.inputs]
    return Stage(_opened(artifact, threads), reads, told["stage"], head, whole)


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
    runtime = runtime_named(artifact.runtime)
    session = runtime.open(artifact, threads)
    session.run(ones(artifact))
    return session


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
