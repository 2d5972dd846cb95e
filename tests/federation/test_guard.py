"""The layer before Flower's servers."""

import asyncio
from typing import Any

import pytest

from netsuke.federation.guard import HEADER, Guard

SECRET = b"0123456789abcdef"
PIECES = [
    {"type": "http.request", "body": b"one ", "more_body": True},
    {"type": "http.request", "body": b"and two", "more_body": False},
]


def came(path: str, messages: list[dict[str, Any]], **shown: str) -> tuple[list[bytes], int]:
    """(The bodies that a server behind it reads of a request, the status that its caller is answered.)"""
    bodies, said = [], [0]

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        said.append(message.get("status", said[-1]))

    messages = list(messages)
    head = [(name.replace("_", "-").encode(), value.encode()) for name, value in shown.items()]
    scope = {"type": "http", "path": path, "raw_path": path.encode(), "method": "POST", "headers": head}  # fmt: skip
    asyncio.run(Guard(inner, SECRET)(scope, receive, send))
    return bodies, said[-1]


@pytest.mark.parametrize("path", ["/v1/fleet/push-object", "/v1/runtime/push-object"])
def test_a_request_is_handed_on_in_one_piece(path: str) -> None:
    assert came(path, PIECES, **{HEADER: SECRET.decode()}) == ([b"one and two"], 200)


def test_one_whose_caller_left_is_not_handed_on() -> None:
    assert came("/v1/fleet/push-object", [PIECES[0], {"type": "http.disconnect"}]) == ([], 0)


@pytest.mark.parametrize("shown", [{}, {HEADER: "another"}])
def test_who_shows_nothing_is_refused(shown: dict[str, str]) -> None:
    assert came("/v1/runtime/push-object", PIECES, **shown) == ([], 401)
