"""What a server makes of who answers when, with clients that are none."""

import json
import time
from dataclasses import dataclass, field, replace

import pytest
import torch
from flwr.app import Message

from netsuke import NetsukeError
from netsuke.federation import rounds
from netsuke.federation.job import Asked, compressor
from netsuke.federation.letter import UPDATE, letter, text_in
from netsuke.federation.members import Member
from netsuke.federation.rounds import Rounds
from netsuke.federation.update import changed

STATE = {"weight": torch.zeros(4, 3)}
NAMES = {1: "attic", 2: "cellar", 3: "garden"}


@dataclass
class Hall:
    """silent: who does not answer now. heard: what was asked, by name."""

    silent: set[str] = field(default_factory=set)
    asked: list[dict[str, Asked]] = field(default_factory=list)
    _waiting: dict[str, Message] = field(default_factory=dict)

    def ask(self, messages: list[Message]) -> dict[str, int]:
        told = {NAMES[m.metadata.dst_node_id]: json.loads(text_in(m, "asked")) for m in messages}
        self.asked.append(told)
        self._waiting |= {f"{len(self.asked)}-{m.metadata.dst_node_id}": m for m in messages}
        return {
            f"{len(self.asked)}-{m.metadata.dst_node_id}": m.metadata.dst_node_id for m in messages
        }

    def heard(self, numbers) -> dict[str, Message]:
        there = [
            n for n in numbers if NAMES[self._waiting[n].metadata.dst_node_id] not in self.silent
        ]
        return {n: _answer(self._waiting.pop(n)) for n in there}

    def traffic(self) -> tuple[int, int]:
        return 0, 0

    def wait(self) -> None:
        time.sleep(0.01)


@dataclass
class Members:
    known: dict[int, Member] = field(
        default_factory=lambda: {node: Member(node, name, 10) for node, name in NAMES.items()}
    )

    def here(self) -> list[Member]:
        return list(self.known.values())


def nothing() -> None:
    pass


def _answer(message: Message) -> Message:
    by, after = compressor("full"), {"weight": torch.ones(4, 3)}
    update = changed(STATE, after, by, by.memory(), torch.Generator())
    figures = {"num-examples": 10, "loss": 0.5, "seconds": 0.01}
    return Message(letter({UPDATE: update}, figures), reply_to=message)


@pytest.fixture
def hall(monkeypatch: pytest.MonkeyPatch) -> Hall:
    monkeypatch.setattr(rounds, "GRACE", 0.1)
    return Hall()


def played(hall: Hall) -> Rounds:
    return Rounds(hall, Members(), least=2, timeout=1.0, check=lambda: None)  # type: ignore[arg-type]


def asked(number: int) -> Asked:
    return Asked(round=number, epochs=1, lr=0.1, batch=8)


def test_who_is_late_is_told_what_went_nowhere_until_it_is_heard_again(hall: Hall):
    server = played(hall)
    hall.silent = {"garden"}
    _, first = server.play(STATE, asked(1), nothing)
    assert (sorted(first.heard), first.late) == (["attic", "cellar"], ("garden",))
    _, second = server.play(STATE, asked(2), nothing)
    assert set(hall.asked[1]) == {"attic", "cellar"}  # it is still at work
    hall.silent = set()
    _, third = server.play(STATE, asked(3), nothing)
    assert sorted(third.heard) == ["attic", "cellar", "garden"]
    assert hall.asked[2]["garden"]["lost"] == {"garden": 1}
    _, fourth = server.play(STATE, asked(4), nothing)
    assert hall.asked[3]["garden"]["lost"] == {}
    assert second.late == ("garden",)
    assert fourth.late == ()


def test_who_was_killed_over_a_round_is_asked_again_once_it_is_back(hall: Hall):
    server = played(hall)
    hall.silent = {"garden"}
    server.play(STATE, asked(1), nothing)
    server.members.known[3] = replace(server.members.known[3], came="later")
    server.play(STATE, asked(2), nothing)
    assert set(hall.asked[1]) == {"attic", "cellar", "garden"}
    assert hall.asked[1]["garden"]["lost"] == {"garden": 1}


def test_too_few_make_no_round(hall: Hall):
    hall.silent = {"attic", "garden"}
    with pytest.raises(
        NetsukeError, match="round 1: 1 of 3 clients gave something of use, 2 are needed"
    ):
        played(hall).play(STATE, asked(1), nothing)


def test_what_is_done_meanwhile_is_done_once_when_clients_were_asked(hall: Hall):
    found: list[int] = []
    server = played(hall)
    server.play(STATE, asked(1), lambda: found.append(len(hall.asked)))
    server.play(STATE, asked(2), nothing)
    assert found == [1]
