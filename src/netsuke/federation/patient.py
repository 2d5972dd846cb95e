"""Who asks for what is not there yet is answered when it may be (RFC 6202, "long polling"): an empty answer costs as much as a
full one."""

import asyncio
from contextlib import nullcontext

from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER

from netsuke.federation.asgi import (
    App,
    Message,
    Receive,
    Scope,
    Send,
    answer,
    nothing_more,
    once_more,
)
from netsuke.federation.uploads import Uploads

MANY = 10_000
"""Callers that are remembered. Who they are is not verified yet; who was forgotten is answered at once."""
CLIENTS, SERVER = 10.0, 0.5
"""Seconds that a client waits for a message at most, and the federation's server, which looks after its processes meanwhile, for
an answer."""
NEWS = "/netsuke/news"
"""Where the server waits until an answer has come as a whole."""
LOOK = "/v1/fleet/pull-messages"
ASKED, TAKEN = "/v1/runtime/push-messages", "/v1/runtime/pull-messages"
BEGUN, PART = "/v1/fleet/push-messages", "/v1/fleet/push-object"


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
    each other. Requests come to it in one piece."""

    def __init__(self, inner: App) -> None:
        self._inner, self._uploads = inner, Uploads()
        self._asked, self._answered = News(CLIENTS), News(SERVER)
        self._one = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        body = await receive()
        path = str(scope["path"])
        if path in (NEWS, LOOK):
            caller = dict(scope["headers"]).get(FLEET_HTTP_PUBLIC_KEY_HEADER.encode(), b"")
            news = self._answered if path == NEWS else self._asked
            if not await news.waited(caller, receive):
                return
        if path == NEWS:
            await answer(send, b"null")
            return
        said = _Heard(send, keep=path == BEGUN)
        # No answer begins between the look for what is under way and what Flower takes for whole.
        async with self._one if path in (BEGUN, TAKEN) else nullcontext():
            if path == TAKEN:
                body["body"] = self._uploads.without_those_under_way(body["body"])
            # A client that leaves over its first message left an answer with Flower all the same.
            more = nothing_more if path == BEGUN else receive
            await self._inner(scope, once_more(body, more), said)
            self._note(path, body["body"], said)

    def _note(self, path: str, asked: bytes, said: "_Heard") -> None:
        """What went well is news to somebody."""
        if said.status != 200:
            return
        if path == ASKED:
            self._asked.tell()
        elif (path == BEGUN and self._uploads.begun(asked, said.body)) or (
            path == PART and self._uploads.came(asked)
        ):
            self._answered.tell()


class _Heard:
    """The way of an answer. status: that it had. body: of it, if it is to be kept."""

    def __init__(self, send: Send, keep: bool) -> None:
        self._send, self._keep, self.status, self.body = send, keep, 0, b""

    async def __call__(self, message: Message) -> None:
        self.status = int(message.get("status", self.status))
        if self._keep:
            self.body += message.get("body", b"")
        await self._send(message)
