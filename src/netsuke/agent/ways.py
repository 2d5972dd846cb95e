"""The ways from this device to others, found out by sending bytes along them: how fast one is cannot be seen from afar."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import zmq

from netsuke.wire.keys import Keys, check_public
from netsuke.wire.message import Message, WireError
from netsuke.wire.onward import Onward, Reply, patience_of
from netsuke.wire.service import Asker

WELCOME = 60.0
"""Seconds that another device may ping this one once it was said to be welcome."""
LARGEST = 1 << 22
"""Bytes that are sent at most."""
MOST = 16
"""Devices that connections are kept to; the one not used for longest goes."""


class Ways:
    """reply: takes what comes of a request later."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Keys, reply: Reply) -> None:
        self._context, self._keys, self._reply = context, keys, reply
        self._welcome: dict[str, float] = {}
        self._there: dict[tuple[str, str], Onward] = {}
        self._began: dict[str, float] = {}

    @property
    def turns(self) -> Mapping[zmq.Socket[bytes], Callable[[], None]]:
        """Sockets to wait at, and what to do when something has come."""
        found = {way.socket: way.answered for way in self._there.values()}
        return found | {way.monitor: way.changed for way in self._there.values()}

    def turn(self) -> None:
        """Called over and over: gives up what took too long, and the connection with it: who was turned away once is not
        let in by it any more."""
        for where, way in tuple(self._there.items()):
            way.turn()
            if way.failed and way.idle:
                self._there.pop(where).close()

    def welcomes(self, public: str) -> bool:
        """Whether who has this key may ping."""
        return time.monotonic() < self._welcome.get(public, 0.0)

    def welcome(self, asked: Message) -> Message:
        """Another device may ping this one for a while."""
        now = time.monotonic()
        self._welcome = {key: until for key, until in self._welcome.items() if until > now}
        self._welcome[check_public(asked.text("public"))] = now + WELCOME
        return Message({})

    def reach(self, asker: Asker, asked: Message) -> None:
        """Have another device take some bytes; the seconds until it said so are the answer, later."""
        size = asked.whole("size", LARGEST)
        way = self._way({key: asked.text(key) for key in ("name", "address", "public")})
        self._began.setdefault(asker.name, time.perf_counter())
        way.send(asker, Message({}, [bytes(size)]), patience_of(asked))

    def _way(self, told: Mapping[str, Any]) -> Onward:
        where = told["address"], check_public(told["public"])
        if where in self._there:
            self._there[where] = self._there.pop(where)
            return self._there[where]
        if len(self._there) == MOST:
            self._there.pop(next(iter(self._there))).close()
        try:
            self._there[where] = Onward(self._context, self._keys, told, self._arrived, "ping")
        except zmq.ZMQError as error:
            raise WireError(f"{told['address'][:80]}: is no address: {error}") from error
        return self._there[where]

    def _arrived(self, asker: Asker, answer: Message) -> None:
        took = time.perf_counter() - self._began.pop(asker.name)
        self._reply(asker, answer if "error" in answer.head else Message({"seconds": took}))


def ping(asked: Message) -> Message:
    """Takes what is sent, and says no more than that it came."""
    return Message({})
