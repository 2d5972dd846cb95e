"""Requests for messages, held until there may be some."""

import asyncio
import time
from typing import Any

import pytest

from netsuke.federation import patient
from netsuke.federation.patient import Patient

ASK, TELL = "/v1/fleet/pull-messages", "/v1/runtime/push-messages"
AT_ONCE, SOON = 0.1, 0.5


class App:
    """What lies behind: the bodies that came to it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append((await receive())["body"])


class Caller:
    """One that sends its request in two pieces, and may leave."""

    def __init__(self, name: str = "a") -> None:
        self.key, self.left = name.encode(), asyncio.Event()

    async def asks(self, app: Patient, path: str = ASK) -> float:
        """Returns after how many seconds it was done with."""
        pieces = [(b"half", True), (b" and half", False)]

        async def receive() -> dict[str, Any]:
            if pieces:
                body, more = pieces.pop(0)
                return {"type": "http.request", "body": body, "more_body": more}
            await self.left.wait()
            return {"type": "http.disconnect"}

        start = time.monotonic()
        await app({"path": path, "headers": [(b"flwr-public-key", self.key)]}, receive, None)  # type: ignore[arg-type]
        return time.monotonic() - start


@pytest.fixture
def inner(monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr(patient, "CLIENTS", SOON)
    return App()


def test_who_knows_all_waits_until_there_is_more(inner: App) -> None:
    async def go() -> None:
        app, a, b = Patient(inner), Caller("a"), Caller("b")
        assert await a.asks(app) < AT_ONCE  # nobody knows what it knows
        waiting = asyncio.ensure_future(a.asks(app))
        await asyncio.sleep(2 * AT_ONCE)
        assert await b.asks(app) < AT_ONCE  # another does not wait for it
        assert not waiting.done()
        assert await Caller().asks(app, TELL) < AT_ONCE
        assert 2 * AT_ONCE < await waiting < SOON
        assert await b.asks(app) < AT_ONCE  # it was told before b asked
        assert inner.bodies == [b"half and half"] * 2 + [b"half"] + [b"half and half"] * 2

    asyncio.run(go())


def test_nobody_waits_for_ever(inner: App) -> None:
    async def go() -> None:
        app, a = Patient(inner), Caller()
        await a.asks(app)
        assert SOON <= await a.asks(app) < SOON + AT_ONCE
        assert len(inner.bodies) == 2

    asyncio.run(go())


def test_who_leaves_is_not_given_a_message_that_is_lost_then(inner: App) -> None:
    async def go() -> None:
        app, a = Patient(inner), Caller()
        await a.asks(app)
        waiting = asyncio.ensure_future(a.asks(app))
        await asyncio.sleep(AT_ONCE)
        a.left.set()
        assert await waiting < SOON
        assert len(inner.bodies) == 1

    asyncio.run(go())


def test_callers_that_are_made_up_fill_nothing(inner: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "MANY", 100)

    async def go() -> None:
        app = Patient(inner)
        for number in range(1000):
            assert await Caller(str(number)).asks(app) < AT_ONCE
        assert len(app._held[ASK]._known) <= 101

    asyncio.run(go())
