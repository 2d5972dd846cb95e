"""Asking: under an id, again where no answer comes, until the time is over."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import zmq

from netsuke.core.closing import Closing
from netsuke.wire.keys import Keys
from netsuke.wire.message import Message, WireError, pack, unpack
from netsuke.wire.sockets import calling

PATIENCE, AGAIN = 30.0, 5.0
"""Seconds until it is given up, and until it is asked again under the same id."""

SLOWEST = 1e4
"""Bytes a second of a link that counts as one: so much longer may what is large take until it is asked again."""
LATE = 0.05
"""Seconds that an answer may come behind the news that its connection broke."""


class UnreachableError(WireError):
    """No answer came in time."""


class Caller(Closing):
    """Calls one machine. name: for messages. theirs: its public key."""

    def __init__(self, keys: Keys, theirs: str, address: str, name: str) -> None:
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self.name, self._address = name, address
        self._socket, self._broken = calling(
            self._context, keys, theirs, address, zmq.EVENT_DISCONNECTED
        )
        self._poller = zmq.Poller()
        for socket in (self._socket, self._broken):
            self._poller.register(socket, zmq.POLLIN)

    def close(self) -> None:
        self._context.destroy(linger=0)

    def call(
        self,
        verb: str,
        head: Mapping[str, Any] | None = None,
        frames: Sequence[Any] = (),
        patience: float = PATIENCE,
    ) -> Message:
        """The answer. Asked again on the way, but done there once.

        Raises UnreachableError where none comes within ``patience`` seconds, and WireError with what the other end says
        went wrong.
        """
        asked = uuid.uuid4().hex
        sent = pack(Message({**(head or {}), "do": verb, "id": asked}, frames))
        end = time.monotonic() + patience
        again = AGAIN + sum(memoryview(frame).nbytes for frame in frames) / SLOWEST
        while (left := end - time.monotonic()) > 0:
            if self._sent(sent, min(left, AGAIN)):
                answer = self._answer(asked, min(end, time.monotonic() + again))
                if answer is not None:
                    return self._checked(answer)
        raise UnreachableError(
            f"{self.name}: no answer from {self._address} in {patience:g} s; is its agent running, and is it paired?"
        )

    def _sent(self, frames: list[Any], wait: float) -> bool:
        if not self._socket.poll(int(1000 * wait), zmq.POLLOUT):
            return False
        self._socket.send_multipart(frames, copy=False)
        return True

    def _answer(self, asked: str, end: float) -> Message | None:
        """The answer to this id; late ones to others are dropped. None where it must be asked again: the time is
        over, or the connection broke and with it went what was on its way."""
        while (left := end - time.monotonic()) > 0:
            ready = dict(self._poller.poll(int(1000 * left)))
            if self._socket in ready:
                frames = self._socket.recv_multipart(copy=False)
                message = unpack([frame.buffer for frame in frames])
                if message.head.get("id") == asked:
                    return message
            elif self._broken in ready:
                self._broken.recv_multipart()
                # What came before it broke may still be on its way to the socket.
                end = min(end, time.monotonic() + LATE)
        return None

    def _checked(self, answer: Message) -> Message:
        if "error" in answer.head:
            raise WireError(f"{self.name}: {answer.text('error')}")
        return answer
