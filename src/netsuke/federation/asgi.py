"""Layers before Flower's servers: what they are made of (ASGI 3.0), and how they read and answer."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def answer(send: Send, body: bytes) -> None:
    """Some JSON."""
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def whole(receive: Receive) -> Message:
    """A request in one piece, or what says that its caller left: Flower's layers are slow to hand on 64 kB, and hand on all."""
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return message
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return {"type": "http.request", "body": b"".join(parts), "more_body": False}


def once_more(message: Message, receive: Receive) -> Receive:
    """What was read already, and then what comes."""
    waiting: list[Message] = [message]

    async def received() -> Message:
        return waiting.pop() if waiting else await receive()

    return received


async def nothing_more() -> Message:
    """From a caller that is not listened to any more."""
    return await asyncio.Future()
