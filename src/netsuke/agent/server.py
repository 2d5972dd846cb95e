"""The agent: one loop on a device that receives files, measures them and serves them, for those who were paired."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from netsuke import __version__
from netsuke.agent.federated import Federated, Own
from netsuke.agent.jobs import Jobs
from netsuke.agent.parts import Parts
from netsuke.agent.shelf import Shelf
from netsuke.agent.state import State
from netsuke.agent.ways import Ways, ping
from netsuke.core.errors import NetsukeError
from netsuke.wire import pairing
from netsuke.wire.message import Message, WireError
from netsuke.wire.service import Asker, Service
from netsuke.wire.sockets import PAIRING, Door, listening

PORT = 5747
TICK = 50
"""Milliseconds between looks at jobs and parts."""

AFTER = 3.0
"""Seconds that a code's door stays open behind the one who came."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an agent listens. port: of its own socket; it pairs at the one after it. 0: any that is free."""

    host: str = "127.0.0.1"
    port: int = PORT

    @property
    def address(self) -> str:
        return f"tcp://{self.host}:{self.port}"

    @property
    def pairing(self) -> str:
        return f"tcp://{self.host}:{self.port + 1 if self.port else 0}"


class Agent:
    """Answers until ``end`` is called. address: where it listens. own: what federations may have of it."""

    def __init__(self, state: State, place: Place, say: Say, own: Own | None = None) -> None:
        self._state, self._place, self._say = state, place, say
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._pairing: _Pairing | None = None
        self._door = Door(self._context, self._allowed)
        try:
            socket, self.address = listening(self._context, state.keys, place.address)
        except zmq.ZMQError as error:
            raise NetsukeError(
                f"{place.address}: cannot listen there: {error}; choose another --port"
            ) from error
        shelf = Shelf(state.artifacts, lambda: self._jobs.used | self._parts.used)
        self._jobs = Jobs(state.jobs, shelf, state.artifacts)
        self._parts = Parts(state, shelf, place.host)
        self._federated = Federated(state, own)
        self._ways = Ways(self._context, state.keys, self._reply)
        verbs = {
            "hello": self._hello, "echo": _echo, "ping": ping, "welcome": self._ways.welcome, "reach": self._reach,
            **shelf.verbs, **self._jobs.verbs, **self._parts.verbs,
            **self._federated.verbs,
        }  # fmt: skip
        self._service = Service(socket, verbs, self._may)
        self._on = True

    def pair(self) -> str:
        """Listen for who has the code that is given back, for ten minutes."""
        code = pairing.new_code()
        keys = pairing.passage(code)
        socket, address = listening(self._context, keys.agent, self._place.pairing, PAIRING)
        self._pairing = _Pairing(
            Service(socket, {"pair": self._paired}),
            keys.home.public,
            time.monotonic() + pairing.SECONDS,
            address,
        )
        return code

    @property
    def pairing_address(self) -> str | None:
        """Where it pairs; None where it does not."""
        return None if self._pairing is None else self._pairing.address

    def end(self) -> None:
        self._on = False

    def loop(self) -> None:
        try:
            while self._on:
                self._turn()
        finally:
            self._jobs.close()
            self._parts.close()
            self._federated.close()
            self._close_pairing()
            self._context.destroy(linger=0)

    def _turn(self) -> None:
        turns = {self._door.socket: self._door.answer, self._service.socket: self._service.turn}
        if self._pairing is not None:
            turns[self._pairing.service.socket] = self._pairing.service.turn
        turns |= self._ways.turns
        poller = zmq.Poller()
        for socket in turns:
            poller.register(socket, zmq.POLLIN)
        for socket, _ in poller.poll(TICK):
            turns[socket]()
        self._ways.turn()
        if self._pairing is not None and time.monotonic() > self._pairing.until:
            self._close_pairing()
        self._jobs.turn()
        self._parts.turn()
        self._federated.turn()

    def _allowed(self, domain: str, public: str) -> bool:
        if domain == PAIRING:
            return self._pairing is not None and public == self._pairing.guest
        return self._ways.welcomes(public) or self._state.known.name_of(public) is not None

    def _may(self, public: str, verb: str) -> bool:
        """A guest gets no further than being heard."""
        return verb == "ping" or self._state.known.name_of(public) is not None

    def _reach(self, asked: Message) -> None:
        self._ways.reach(self._service.asker, asked)

    def _reply(self, asker: Asker, answer: Message) -> None:
        self._service.reply(asker, answer)

    def _hello(self, asked: Message) -> Message:
        return Message({"netsuke": __version__})

    def _paired(self, asked: Message) -> Message:
        """Under a code's keys: theirs for ours."""
        assert self._pairing is not None, "asked at the pairing socket"
        if self._pairing.used:
            raise WireError("this code was used; netsuke agent --pair shows a new one")
        name = asked.text("name")[:64]
        self._state.known.add(name, asked.text("public"))
        # Open a little longer, for who asks again because the answer was lost.
        self._pairing.used, self._pairing.until = True, time.monotonic() + AFTER
        self._say(f"paired with {name}")
        return Message(
            {"public": self._state.keys.public, "port": int(self.address.rpartition(":")[2])}
        )

    def _close_pairing(self) -> None:
        if self._pairing is not None:
            # A moment for the answer to leave.
            self._pairing.service.socket.close(linger=1000)
            self._pairing = None


def _echo(asked: Message) -> Message:
    return Message({}, asked.frames)


@dataclass
class _Pairing:
    """A code that is good for now. guest: the key it gives its one caller."""

    service: Service
    guest: str
    until: float
    address: str
    used: bool = False
