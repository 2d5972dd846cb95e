"""Nobody but this federation is answered: a layer before Flower's servers, and what its callers show it."""

import hmac
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netsuke.federation.asgi import App, Receive, Scope, Send, answer, once_more, whole
from netsuke.federation.traffic import PATH, Traffic

HEADER = "netsuke-secret"
SECRET = "NETSUKE_FEDERATION_SECRET"
"""The environment variable that names the secret's file to a process."""
SIGNED = "/v1/fleet/"
"""What clients ask of a server; Flower has them sign it with their key."""


class Guard:
    """An ASGI application in front of another: a request is signed, or shows the secret, or is refused.

    Flower's servers start runs for whoever reaches their port; here only this machine's own processes do.
    """

    def __init__(self, inner: App, secret: bytes) -> None:
        self._inner, self._secret, self._traffic = inner, secret, Traffic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        if self._may(scope):
            path = str(scope["path"])
            if path == PATH:
                await answer(send, self._traffic.told())
                return
            if path.startswith(SIGNED):
                receive, send = self._traffic.counting(scope, receive, send)
            request = await whole(receive)
            if request["type"] == "http.request":
                await self._inner(scope, once_more(request, receive), send)
            return
        head = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 401, "headers": head})
        await send({"type": "http.response.body", "body": b"not of this federation"})

    def _may(self, scope: Scope) -> bool:
        if scope["type"] != "http":
            return False
        shown = dict(scope["headers"]).get(HEADER.encode(), b"")
        return str(scope["path"]).startswith(SIGNED) or hmac.compare_digest(shown, self._secret)


class Showing:
    """What a caller shows of itself: an interceptor of Flower's clients."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret.decode("ascii")

    def intercept(self, context: Any, call_next: Callable[[Any], Any]) -> Any:
        context.request.headers[HEADER] = self._secret
        return call_next(context)


def secret() -> bytes:
    """That of this process's federation."""
    return Path(os.environ[SECRET]).read_bytes()
