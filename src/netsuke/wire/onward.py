"""The way on to the next part of a network: what is under way there is kept until it is answered, and sent again where
the connection broke, so that a part that dies loses nothing."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import zmq

from netsuke.wire.keys import Keys
from netsuke.wire.message import Message, WireError, pack, unpack
from netsuke.wire.service import Asker
from netsuke.wire.sockets import calling

WINDOW = 32
"""Requests under way at most: who asks for more waits, and who asks it does, up to the one who began."""
PATIENCE = 30.0
"""Seconds that a request may take where it does not say."""

LEFT = 0.8
"""Share of a request's time that is left for the parts behind: the last one that waits in vain is the one to say so."""

GRACE = 1.0
"""Seconds that the next part may be gone before what can be answered without it is."""

EVENT = struct.Struct("=Hi")
"""Of a monitor, and what it tells of it (ZeroMQ's zmq_socket_monitor); pyzmq's own reader loads asyncio, 3 MB."""

Reply = Callable[[Asker, Message], None]
Rescue = Callable[[], Message]


@dataclass
class _Pending:
    """A request under way. rescue: an answer without the next part, where there is one. sent: whether it left on the
    connection there is now."""

    asker: Asker
    frames: list[Any]
    until: float
    rescue: Rescue | None = None
    sent: bool = False


class Onward:
    """Hands requests on and answers back. failed: whether an answer did not come in time. told: ``{"name": …, "address": …, "public": key}`` of the next part. verb: what
    is asked of it."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: Keys,
        told: Mapping[str, str],
        reply: Reply,
        verb: str = "run",
    ) -> None:
        self.name, self._reply, self._verb = told["name"], reply, verb
        news = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        self.socket, self.monitor = calling(context, keys, told["public"], told["address"], news)
        self._pending: dict[str, _Pending] = {}
        self._there, self._gone = False, time.monotonic()
        self.failed = False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._pending

    def give_up(self, error: str) -> None:
        """Answer all that is under way with why it will not come."""
        pending, self._pending = self._pending, {}
        for one in pending.values():
            self._reply(one.asker, Message({"error": error}))

    def take_over(self, other: Onward) -> None:
        """What is under way there goes this way instead, from the start."""
        for name, pending in other._pending.items():
            pending.sent = False
            self._pending[name] = pending
        other._pending = {}
        other.close()

    def close(self) -> None:
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close()

    @property
    def full(self) -> bool:
        return len(self._pending) >= WINDOW

    def send(
        self, asker: Asker, message: Message, patience: float, rescue: Rescue | None = None
    ) -> None:
        """A request; who asks again under the same id is answered at the place asked from last. rescue: what answers it
        where the next part is gone."""
        known = self._pending.get(asker.name)
        if known is not None:
            known.asker = asker
            return
        head = {**message.head, "id": asker.name, "do": self._verb, "left": LEFT * patience}
        frames = pack(Message(head, message.frames))
        pending = _Pending(asker, frames, time.monotonic() + patience, rescue)
        self._pending[asker.name] = pending
        self._leave(pending)

    def answered(self) -> None:
        """Take an answer that is there, and hand it back."""
        frames = self.socket.recv_multipart(copy=False)
        answer = unpack([frame.buffer for frame in frames])
        pending = self._pending.pop(str(answer.head.get("id")), None)
        if pending is not None:
            self._reply(pending.asker, answer)

    def changed(self) -> None:
        """Take news of the connection: when it is there anew, what was on its way goes again."""
        event, _ = EVENT.unpack(self.monitor.recv_multipart()[0])
        if self._there and event == zmq.EVENT_DISCONNECTED:
            self._gone = time.monotonic()
        self._there = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
        for pending in self._pending.values():
            pending.sent = False
            self._leave(pending)

    def turn(self) -> None:
        """Called over and over: sends what could not leave, gives up what took too long."""
        now = time.monotonic()
        alone = not self._there and now - self._gone > GRACE
        for name, pending in list(self._pending.items()):
            if pending.rescue is not None and (alone or now > pending.until):
                del self._pending[name]
                self._reply(pending.asker, pending.rescue())
            elif now > pending.until:
                self.failed = True
                del self._pending[name]
                self._reply(
                    pending.asker, Message({"error": f"{self.name}: did not answer in time"})
                )
            elif not pending.sent:
                self._leave(pending)

    def _leave(self, pending: _Pending) -> None:
        if pending.sent or not self._there:
            return
        try:
            self.socket.send_multipart(pending.frames, zmq.DONTWAIT, copy=False)
            pending.sent = True
        except zmq.Again:
            return


def patience_of(asked: Message) -> float:
    """Seconds that are left for a request: a span, for clocks differ. Raises WireError where it is none."""
    left = asked.head.get("left", PATIENCE)
    if not isinstance(left, int | float) or isinstance(left, bool) or not 0 < left <= 86400:
        raise WireError(f"left: {str(left)[:40]} is no number of seconds")
    return float(left)
