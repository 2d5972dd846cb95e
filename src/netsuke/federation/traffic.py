"""What really crosses the wire between clients and their server: counted where it is answered."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

PATH = "/netsuke/traffic"
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Traffic:
    """Bytes of requests and of the answers to them so far, heads and bodies, as HTTP/1.1 writes them (RFC 9112): what clients
    ask in vain is among them, what TLS and TCP put around them is not. It answers for itself at PATH."""

    def __init__(self) -> None:
        self.up = self.down = 0

    def counting(self, scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
        """The two ends of one request, counted from now on."""
        self.up += len(scope["method"]) + len(scope["raw_path"]) + 12 + _head(scope["headers"])

        async def received() -> Message:
            message = await receive()
            self.up += len(message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.down += 17 + _head(message.get("headers", ()))
            self.down += len(message.get("body", b""))
            await send(message)

        return received, sent

    def told(self) -> bytes:
        """Both as JSON."""
        return json.dumps({"up": self.up, "down": self.down}).encode()


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


def _head(headers: Any) -> int:
    return 2 + sum(len(name) + len(value) + 4 for name, value in headers)
