"""Who takes part in a federation, and who may not."""

import json
import time
from dataclasses import dataclass, field, replace

from flwr.app import Message, MessageType

from netsuke.federation.hall import Hall
from netsuke.federation.letter import described, letter, text_in
from netsuke.federation.update import State

GREETING = 60.0
"""Seconds in which a client must say who it is; it may have to read its data first."""


@dataclass(frozen=True)
class Member:
    """A client that was admitted. samples: as it said. came: when; again, where it had been killed."""

    node: int
    name: str
    samples: int
    came: str = ""


@dataclass
class Members:
    """of: the network that all must have. refused: why, by the number of a client."""

    hall: Hall
    of: State
    known: dict[int, Member] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    _greeted: dict[str, tuple[int, float]] = field(default_factory=dict)

    def here(self) -> list[Member]:
        """Those that are there now, newcomers among them once they have said who they are."""
        present = self.hall.present()
        self._greet([node for node in present if node not in self.known])
        self.known = {n: replace(m, came=present.get(n, m.came)) for n, m in self.known.items()}
        return [member for node, member in self.known.items() if node in present]

    def told(self) -> list[str]:
        """What is new about clients that may not take part; once."""
        said, self._new = self._new, []
        return said

    _new: list[str] = field(default_factory=list)

    def _greet(self, strangers: list[int]) -> None:
        asked = {node for node, _ in self._greeted.values()}
        now = time.monotonic()
        fresh = [n for n in strangers if n not in asked and n not in self.refused]
        hello = [Message(letter(), n, MessageType.QUERY) for n in fresh]
        if hello:
            self._greeted |= {number: (n, now) for number, n in self.hall.ask(hello).items()}
        for number, reply in self.hall.heard(self._greeted).items() if self._greeted else ():
            node, _ = self._greeted.pop(number)
            self._take(node, reply)
        for number, (_, since) in list(self._greeted.items()):
            if (
                now - since > GREETING
            ):  # it died over the question, and is asked again when it is back
                del self._greeted[number]

    def _take(self, node: int, reply: Message) -> None:
        if reply.has_error():
            self._refuse(node, str(node), str(reply.error.reason))
            return
        said = json.loads(text_in(reply, "hello"))
        name = str(said["name"])
        why = self._wrong(name, said)
        if why:
            self._refuse(node, name, why)
        else:
            self.known = {n: m for n, m in self.known.items() if m.name != name}
            self.known[node] = Member(node, name, int(said["samples"]))

    def _wrong(self, name: str, said: dict[str, object]) -> str:
        """Why it may not take part; "" where it may."""
        there = {m.name for n, m in self.known.items() if n in self.hall.present()}
        if name in there:
            return "another client of this name is there; give each its own (--name)"
        mine, theirs = described(self.of), said["network"]
        assert isinstance(theirs, dict)
        for tensor in (*mine, *theirs):
            if mine.get(tensor) != theirs.get(tensor):
                return (
                    f"its network is another: {tensor} is {_shape(theirs.get(tensor))} there, "
                    f"{_shape(mine.get(tensor))} here"
                )
        return (
            "" if isinstance(said["samples"], int) and said["samples"] > 0 else "it has no samples"
        )

    def _refuse(self, node: int, name: str, why: str) -> None:
        self.refused[node] = why
        self._new.append(f"client {name} may not take part: {why}")


def _shape(sizes: object) -> str:
    return "×".join(map(str, sizes)) or "one value" if isinstance(sizes, list) else "not"
