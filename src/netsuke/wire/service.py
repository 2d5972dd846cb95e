"""Answering: a loop that hands what is asked to functions by name, and never falls over what it is sent."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import zmq

from netsuke.core.errors import NetsukeError
from netsuke.wire.message import Message, WireError, pack, unpack

Handler = Callable[[Message], Message | None]
"""Answers one kind of request; None where the answer comes later, by ``reply``. A NetsukeError it raises is the answer."""

REMEMBERED = 256
"""Answers that are kept: who asks again under the same id gets the same one. Those that carry arrays are not:
running a network twice changes nothing."""
MOST_ID = 64


class Asker(NamedTuple):
    """To whom an answer goes. peer: the connection. user: whose key it came under. name: the request's id."""

    peer: bytes
    user: str
    name: str


class Service:
    """Answers what comes in at a socket. verbs: what can be asked, by name. may: whether who has this key may ask for
    that. asker: who asks, while a verb is at it."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        verbs: Mapping[str, Handler],
        may: Callable[[str, str], bool] = lambda user, verb: True,
    ) -> None:
        self.socket, self._verbs, self._may = socket, verbs, may
        self._answers: OrderedDict[tuple[str, str], list[Any]] = OrderedDict()
        self.asker = Asker(b"", "", "")

    def turn(self) -> None:
        """Take one request that is there, and answer it unless that comes later."""
        peer, *frames = self.socket.recv_multipart(copy=False)
        self.asker = Asker(peer.bytes, str(peer.get("User-Id")), "")
        answer = self._answer([frame.buffer for frame in frames])
        if answer is not None:
            self._send(answer)

    def reply(self, asker: Asker, answer: Message) -> None:
        """The answer to a request of before."""
        self.asker = asker
        self._send(pack(_labelled(answer, asker.name)))

    def _send(self, frames: list[Any]) -> None:
        """A peer that is gone, or takes nothing, asks again."""
        try:
            self.socket.send_multipart([self.asker.peer, *frames], zmq.DONTWAIT, copy=False)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise

    def _answer(self, frames: list[Any]) -> list[Any] | None:
        """The frames of the answer: what the verb gives, or an error by name."""
        try:
            asked = unpack(frames)
            self.asker = self.asker._replace(name=asked.text("id")[:MOST_ID])
            return self._once(asked)
        except NetsukeError as error:
            return self._failed(str(error)[:2000])
        except OSError as error:
            return self._failed(error.strerror or str(error))
        except Exception as error:
            # Whatever one caller sends, the others are answered; what was wrong is for the agent's own log.
            traceback.print_exc()
            return self._failed(f"cannot be done: {type(error).__name__}")

    def _once(self, asked: Message) -> list[Any] | None:
        key = self.asker.user, self.asker.name
        if not self._may(self.asker.user, asked.text("do")):
            raise WireError("this is not for you to ask")
        if key in self._answers:
            return self._answers[key]
        answer = self._done(asked)
        if answer is None:
            return None
        given = pack(_labelled(answer, self.asker.name))
        if len(given) == 1:
            self._remember(key, given)
        return given

    def _done(self, asked: Message) -> Message | None:
        verb = asked.text("do")
        if verb not in self._verbs:
            raise WireError(
                f"there is no {verb[:40]!r}; there are: {', '.join(sorted(self._verbs))}"
            )
        return self._verbs[verb](asked)

    def _failed(self, reason: str) -> list[Any]:
        return pack(Message({"id": self.asker.name, "error": reason}))

    def _remember(self, key: tuple[str, str], given: list[Any]) -> None:
        self._answers[key] = given
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)


def _labelled(answer: Message, name: str) -> Message:
    return Message({**answer.head, "id": name}, answer.frames)
