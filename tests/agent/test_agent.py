"""The agent, a real one on loopback: pairing, who is answered, and that it survives what it is sent."""

import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from netsuke.core.errors import NetsukeError
from netsuke.links import book
from netsuke.links.pair import pair
from netsuke.testing.agents import Running, started, until
from netsuke.wire.caller import Caller, UnreachableError
from netsuke.wire.keys import new_keys, own_keys
from netsuke.wire.message import Message, WireError, pack
from netsuke.wire.onward import Onward
from netsuke.wire.service import Asker
from netsuke.wire.sockets import calling

CODE = re.compile(r"(127\.0\.0\.1:\d+) ([0-9A-Z-]{24})")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Running]:
    """Nobody was paired with it yet."""
    running = started(tmp_path / "agent")
    yield running
    running.kill()


def test_pairing_exchanges_keys_once(alone: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    where, code = CODE.search(alone.line()).groups()  # type: ignore[union-attr]
    pair("kitchen-pi", where, code)
    assert book.entry("kitchen-pi") == book.Entry(
        alone.address, own_keys(alone.state / "keys.toml").public
    )
    assert alone.line().strip() == f"paired with {os.uname().nodename}"
    with alone.caller() as caller:
        assert "netsuke" in caller.call("hello").head
    monkeypatch.setattr("netsuke.links.pair.PATIENCE", 1.0)
    with pytest.raises(NetsukeError, match="this code was used|answers to this code"):
        pair("kitchen-pi", where, code)


def test_a_wrong_code_is_not_answered(alone: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    where = CODE.search(alone.line()).group(1)  # type: ignore[union-attr]
    monkeypatch.setattr("netsuke.links.pair.PATIENCE", 1.0)
    with pytest.raises(NetsukeError, match="answers to this code"):
        pair("kitchen-pi", where, "0000-0000-0000-0000-0000")
    assert not list((alone.state / "known").glob("*"))
    assert book.names() == ()


def test_the_keys_of_a_code_open_no_other_door(alone: Running) -> None:
    from netsuke.wire.pairing import passage

    code = CODE.search(alone.line()).group(2)  # type: ignore[union-attr]
    theirs = own_keys(alone.state / "keys.toml").public
    with (
        Caller(passage(code).home, theirs, alone.address, "x") as caller,
        pytest.raises(UnreachableError),
    ):
        caller.call("hello", patience=1)


def test_who_is_not_known_is_not_answered(agent: Running) -> None:
    theirs = own_keys(agent.state / "keys.toml").public
    with Caller(new_keys(), theirs, agent.address, "x") as caller, pytest.raises(UnreachableError):
        caller.call("hello", patience=1)
    context = zmq.Context()
    plain = context.socket(zmq.DEALER)
    plain.linger = 0
    plain.connect(agent.address)
    plain.send_multipart(pack(Message({"do": "hello", "id": "1"})))
    answered = plain.poll(500)
    context.destroy(linger=0)
    assert answered == 0


def test_another_agent_in_its_place_is_not_believed(agent: Running) -> None:
    mine = own_keys(book.keys_file())
    with (
        Caller(mine, new_keys().public, agent.address, "x") as caller,
        pytest.raises(UnreachableError),
    ):
        caller.call("hello", patience=1)


def test_who_is_forgotten_is_not_answered_any_more(agent: Running) -> None:
    (agent.state / "known" / "home.key").unlink()
    with agent.caller() as caller, pytest.raises(UnreachableError):
        caller.call("hello", patience=1)


@pytest.mark.parametrize(
    ("verb", "head", "said"),
    [
        ("nonsense", {}, "there is no 'nonsense'"),
        ("have", {"sha256": "../../etc/passwd"}, "no SHA-256"),
        ("have", {"sha256": 7}, "no SHA-256"),
        ("put", {"sha256": "0" * 64, "size": -1, "offset": 0}, "size: -1"),
        ("put", {"sha256": "0" * 64, "size": 10**15, "offset": 0}, "size"),
        ("put", {"sha256": "0" * 64, "size": 4, "offset": 0}, "piece"),
        ("expand", {"sha256": "0" * 64, "stored": "1" * 64}, "was not shipped"),
        ("job", {"job": {"kind": "probe", "subject": {}}}, "not an artifact"),
        ("result", {"job": "../x"}, "names no job"),
        ("result", {"job": "0" * 32}, "no such job"),
        ("serve", {"name": "../x"}, "no name"),
        ("serve", {"name": "x", "memory": -1}, "no number above 0"),
        ("part", {"name": "x"}, "nothing is served"),
    ],
)
def test_what_cannot_be_done_is_said(
    agent: Running, verb: str, head: dict[str, object], said: str
) -> None:
    with agent.caller() as caller, pytest.raises(WireError, match=said):
        caller.call(verb, head)


def test_an_older_or_newer_caller_is_told_so(agent: Running) -> None:
    with agent.caller() as caller:
        caller._socket.send_multipart([b'{"v": 9, "do": "hello", "id": "1"}'])
        assert caller._socket.poll(5000)
        assert b"version 9" in caller._socket.recv_multipart()[0]
        assert "netsuke" in caller.call("hello").head


def test_it_answers_on_after_anything_it_is_sent(agent: Running) -> None:
    """By one who is paired; the many frames of strangers are a matter of the bench."""
    draw = random.Random(0)
    verbs = [b"hello", b"have", b"put", b"job", b"result", b"serve", b"part", b"stop", b"expand", b"drop", b"parts", b"ping", b"welcome", b"reach"]  # fmt: skip
    values = [b"null", b"[]", b"{}", b'"x"', b"-1", b"1e999", b'"' + b"0" * 64 + b'"', b'{"a": {}}']
    keys = [
        b"sha256",
        b"size",
        b"offset",
        b"job",
        b"name",
        b"artifact",
        b"memory",
        b"threads",
        b"public",
        b"address",
    ]
    with agent.caller() as caller:
        for number in range(400):
            told = b", ".join(
                b'"%s": %s' % (draw.choice(keys), draw.choice(values)) for _ in range(4)
            )
            head = b'{"v": 1, "id": "n%d", "do": "%s", %s}' % (number, draw.choice(verbs), told)
            caller._socket.send_multipart([head, draw.randbytes(draw.randrange(20))])
        assert "netsuke" in caller.call("hello", patience=20).head
    assert agent.process.poll() is None


def test_what_is_asked_twice_under_one_id_is_done_once(agent: Running) -> None:
    context = zmq.Context()
    theirs = own_keys(agent.state / "keys.toml").public
    socket, _ = calling(
        context, own_keys(book.keys_file()), theirs, agent.address, zmq.EVENT_DISCONNECTED
    )
    asked = pack(Message({"do": "job", "id": "0" * 32, "job": {"kind": "facts"}}))
    answers = []
    for _ in range(3):
        socket.send_multipart(asked)
        assert socket.poll(5000)
        answers.append(socket.recv_multipart())
    context.destroy(linger=0)
    assert answers[0] == answers[1] == answers[2]
    assert [path.name for path in (agent.state / "jobs").iterdir()] == ["0" * 32]


def test_an_address_that_is_taken_is_named(agent: Running, tmp_path: Path, capfd) -> None:
    other = started(tmp_path / "other", agent.port)
    assert other.process.wait(10) == 2
    assert f"{agent.port}: cannot listen there" in capfd.readouterr().err


def test_news_of_a_connection_that_is_quickly_there_is_not_missed(
    agent: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a process is held up between beginning to connect and listening for news, it is there already."""
    listen = zmq.Socket.get_monitor_socket

    def late(socket: zmq.Socket[bytes], events: int) -> zmq.Socket[bytes]:
        time.sleep(0.5)
        return listen(socket, events)

    monkeypatch.setattr(zmq.Socket, "get_monitor_socket", late)
    theirs, answers = own_keys(agent.state / "keys.toml").public, list[Message]()
    told = {"name": "it", "address": agent.address, "public": theirs}
    context = zmq.Context[zmq.Socket[bytes]]()
    way = Onward(context, own_keys(book.keys_file()), told, lambda _, m: answers.append(m), "ping")
    way.send(Asker(b"", "", "1"), Message({}), 10)
    until(lambda: (_turned(way), answers)[1], 5)
    context.destroy(linger=0)
    assert "error" not in answers[0].head


def _turned(way: Onward) -> None:
    for socket, taken in ((way.monitor, way.changed), (way.socket, way.answered)):
        if socket.poll(10):
            taken()
    way.turn()
