"""What really crosses the wire between clients and their server: counted where it is answered."""

import json
from typing import Any

from netsuke.federation.asgi import Message, Receive, Scope, Send

PATH = "/netsuke/traffic"


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


def _head(headers: Any) -> int:
    return 2 + sum(len(name) + len(value) + 4 for name, value in headers)
