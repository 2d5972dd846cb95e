"""Who asks for what is not there yet is answered when it may be (RFC 6202, "long polling"): an empty answer costs as much as a
full one."""

import asyncio

from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER

from netsuke.federation.traffic import App, Message, Receive, Scope, Send

MANY = 10_000
"""Callers that are remembered. Who they are is not verified yet; who was forgotten is answered at once."""
CLIENTS, SERVER = 10.0, 0.5
"""Seconds that a request for messages waits at most. The federation's server looks after its processes meanwhile."""


class News:
    """What one side tells the other, counted; and who asked when there was how much of it. seconds: that a caller waits at
    most."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._count, self._more = seconds, 0, asyncio.Event()
        self._known: dict[bytes, int] = {}

    def tell(self) -> None:
        self._count += 1
        self._more.set()
        self._more = asyncio.Event()

    async def waited(self, caller: bytes, receive: Receive) -> bool:
        """Until there is some since this caller asked last; False where it left. Its request must have been read."""
        if self._known.get(caller) == self._count:
            waits = [asyncio.ensure_future(wait) for wait in (self._more.wait(), receive())]
            try:
                await asyncio.wait(
                    waits, timeout=self._seconds, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                for wait in waits:
                    wait.cancel()
            if waits[1].done():
                return False
        if len(self._known) > MANY:
            self._known.clear()
        self._known[caller] = self._count
        return True


class Patient:
    """An ASGI application in front of Flower's SuperLink, at which its clients and the federation's server ask for messages of
    each other."""

    def __init__(self, inner: App) -> None:
        asked, answered = News(CLIENTS), News(SERVER)
        self._inner = inner
        self._told = {"/v1/runtime/push-messages": asked, "/v1/fleet/push-messages": answered}
        self._held = {"/v1/fleet/pull-messages": asked, "/v1/runtime/pull-messages": answered}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path"))
        if path in self._held:
            caller = dict(scope["headers"]).get(FLEET_HTTP_PUBLIC_KEY_HEADER.encode(), b"")
            body = await _read(receive)
            if not (body and await self._held[path].waited(caller, receive)):
                return
            receive = _first(body, receive)
        await self._inner(scope, receive, send)
        if path in self._told:
            self._told[path].tell()


async def _read(receive: Receive) -> Message | None:
    """A request's body in one piece; None where its caller left before the end."""
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return {"type": "http.request", "body": b"".join(parts), "more_body": False}


def _first(message: Message, receive: Receive) -> Receive:
    """What was read already, and then what comes."""
    waiting: list[Message] = [message]

    async def received() -> Message:
        return waiting.pop() if waiting else await receive()

    return received
