"""Requests for messages, held until there may be some."""

import asyncio
import time
from typing import Any

import pytest
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import Metadata, PushObjectRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest

from netsuke.federation import patient, uploads
from netsuke.federation.patient import Patient

ASK, TELL = patient.LOOK, patient.ASKED
AT_ONCE, SOON = 0.1, 0.5


class App:
    """What lies behind: the bodies that came to it, and what it answers, after so many seconds, to who is still there."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.answers = b""
        self.status = 200
        self.takes = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append((await receive())["body"])
        if self.takes:
            left = asyncio.ensure_future(receive())
            done, _ = await asyncio.wait([left], timeout=self.takes)
            left.cancel()
            if done:
                return
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": self.answers})


class Caller:
    """One that may leave. told: what it was answered last."""

    def __init__(self, name: str = "a") -> None:
        self.key, self.left, self.told = name.encode(), asyncio.Event(), b""

    async def asks(self, app: Patient, path: str = ASK, body: bytes = b"look") -> float:
        """Returns after how many seconds it was done with."""
        requests = [{"type": "http.request", "body": body, "more_body": False}]
        self.told = b""

        async def receive() -> dict[str, Any]:
            if requests:
                return requests.pop()
            await self.left.wait()
            return {"type": "http.disconnect"}

        start = time.monotonic()
        scope = {"type": "http", "path": path, "headers": [(b"flwr-public-key", self.key)]}
        await app(scope, receive, self._hears)
        return time.monotonic() - start

    async def _hears(self, message: Any) -> None:
        self.told += message.get("body", b"")


@pytest.fixture
def inner(monkeypatch: pytest.MonkeyPatch) -> App:
    for name in ("CLIENTS", "SERVER"):
        monkeypatch.setattr(patient, name, SOON)
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
        assert inner.bodies == [b"look"] * 5

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
        assert len(app._asked._known) <= 101

    asyncio.run(go())


def begun(inner: App, *parts: str) -> bytes:
    """A client's request to begin an answer to "q", and as the answer to that the parts that are not there."""
    inner.answers = PushMessagesResponse(objects_to_push=parts, session_id="s").SerializeToString()
    message = ProtoMessage(metadata=Metadata(reply_to_message_id="q"))
    return PushMessagesRequest(messages_list=[message]).SerializeToString()


async def taken(app: Patient, inner: App) -> list[str]:
    """What is left of the server's request for the answers to "p", on which nobody is at work, and "q"."""
    wanted = PullAppMessagesRequest(message_ids=["p", "q"]).SerializeToString()
    await Caller("").asks(app, patient.TAKEN, wanted)
    return list(PullAppMessagesRequest.FromString(inner.bodies[-1]).message_ids)


def part(name: str) -> bytes:
    sent = PushObjectRequest(object_id=name, session_id="s", object_content=bytes(1000))
    return sent.SerializeToString()


def test_an_answer_is_none_before_its_last_part(inner: App) -> None:
    async def go() -> None:
        app, client, server = Patient(inner), Caller("a"), Caller("")
        await server.asks(app, patient.NEWS)
        waiting = asyncio.ensure_future(server.asks(app, patient.NEWS))
        await asyncio.sleep(AT_ONCE)
        await client.asks(app, patient.BEGUN, begun(inner, "one", "two"))
        await client.asks(app, patient.PART, part("one"))
        await client.asks(app, patient.PART, part("another's"))
        inner.status = 503
        await client.asks(app, patient.PART, part("two"))
        assert await taken(app, inner) == ["p"]
        assert not waiting.done()
        inner.status = 200
        await client.asks(app, patient.PART, part("two"))
        assert AT_ONCE < await waiting < SOON
        assert await taken(app, inner) == ["p", "q"]

    asyncio.run(go())


def test_an_answer_without_parts_is_news_at_once(inner: App) -> None:
    async def go() -> None:
        app, server = Patient(inner), Caller("")
        await server.asks(app, patient.NEWS)
        await Caller("a").asks(app, patient.BEGUN, begun(inner))
        assert await server.asks(app, patient.NEWS) < AT_ONCE
        assert await taken(app, inner) == ["p", "q"]

    asyncio.run(go())


def test_an_answer_of_which_nothing_comes_any_more_is_flowers_to_judge(
    inner: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "FORGOTTEN", AT_ONCE)

    async def go() -> None:
        app = Patient(inner)
        await Caller("a").asks(app, patient.BEGUN, begun(inner, "one"))
        assert await taken(app, inner) == ["p"]
        await asyncio.sleep(2 * AT_ONCE)
        assert await taken(app, inner) == ["p", "q"]


def test_an_answer_that_begins_meanwhile_is_not_waited_for(inner: App) -> None:
    async def go() -> None:
        app = Patient(inner)
        inner.takes = AT_ONCE
        begins = asyncio.ensure_future(Caller("a").asks(app, patient.BEGUN, begun(inner, "one")))
        await asyncio.sleep(AT_ONCE / 2)
        assert await taken(app, inner) == ["p"]
        assert begins.done()

    asyncio.run(go())


def test_an_answer_is_under_way_though_its_client_left_as_it_began(inner: App) -> None:
    async def go() -> None:
        app, client = Patient(inner), Caller("a")
        inner.takes = AT_ONCE
        client.left.set()
        await client.asks(app, patient.BEGUN, begun(inner, "one"))
        assert await taken(app, inner) == ["p"]

    asyncio.run(go())
