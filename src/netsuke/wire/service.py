"""Answering: a loop that hands what is asked to functions by name, and never falls over what it is sent."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import zmq

from netsuke.core.errors import NetsukeError
from netsuke.wire.message import Message, WireError, pack, unpack

Handler = Callable[[Message], Message]
"""Answers one kind of request. A NetsukeError it raises is the answer."""

REMEMBERED = 256
"""Answers that are kept: who asks again under the same id gets the same one. Those that carry arrays are not:
running a network twice changes nothing."""
MOST_ID = 64


class Service:
    """Answers what comes in at a socket. verbs: what can be asked, by name."""

    def __init__(self, socket: zmq.Socket[bytes], verbs: Mapping[str, Handler]) -> None:
        self.socket, self._verbs = socket, verbs
        self._answers: OrderedDict[tuple[str, str], list[Any]] = OrderedDict()

    def turn(self) -> None:
        """Answer one request that is there."""
        peer, *frames = self.socket.recv_multipart(copy=False)
        answer = self.answer(str(peer.get("User-Id")), [frame.buffer for frame in frames])
        self.send(peer.bytes, answer)

    def send(self, peer: bytes, frames: list[Any]) -> None:
        """A peer that is gone, or takes nothing, asks again."""
        try:
            self.socket.send_multipart([peer, *frames], zmq.DONTWAIT, copy=False)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise

    def answer(self, user: str, frames: list[Any]) -> list[Any]:
        """The frames of the answer: what the verb gives, or an error by name. user: whose key it came under."""
        name = ""
        try:
            asked = unpack(frames)
            name = asked.text("id")[:MOST_ID]
            known = self._answers.get((user, name))
            if known is not None:
                return known
            given = pack(_labelled(self._done(asked), name))
            if len(given) == 1:
                self._remember((user, name), given)
        except NetsukeError as error:
            given = pack(Message({"id": name, "error": str(error)[:2000]}))
        except OSError as error:
            given = pack(Message({"id": name, "error": f"{error.strerror or error}"}))
        except Exception as error:
            # Whatever one caller sends, the others are answered; what was wrong is for the agent's own log.
            traceback.print_exc()
            given = pack(Message({"id": name, "error": f"cannot be done: {type(error).__name__}"}))
        return given

    def _done(self, asked: Message) -> Message:
        verb = asked.text("do")
        if verb not in self._verbs:
            raise WireError(
                f"there is no {verb[:40]!r}; there are: {', '.join(sorted(self._verbs))}"
            )
        return self._verbs[verb](asked)

    def _remember(self, key: tuple[str, str], given: list[Any]) -> None:
        self._answers[key] = given
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)


def _labelled(answer: Message, name: str) -> Message:
    return Message({**answer.head, "id": name}, answer.frames)
