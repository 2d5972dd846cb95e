"""Round after round: clients are asked, heard, checked and aggregated; what came of it is judged and kept."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from flwr.app import ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Strategy
from torch import Tensor

from netsuke.core.errors import NetsukeError
from netsuke.federation import received
from netsuke.federation.flower import WAIT
from netsuke.federation.hall import Hall
from netsuke.federation.job import Asked, compressor
from netsuke.federation.letter import WORTH, letter, packed, record, size, tensors
from netsuke.federation.members import Member, Members
from netsuke.federation.received import Trained, Weighed
from netsuke.federation.update import State

QUORUM = 0.5
"""Share of the clients asked whose answers make a round."""
PATIENCE = 3.0
"""The others have until the round has taken as many times what that took."""
GRACE = 2.0
"""Seconds that they have at least."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """What came of a round. heard: names; rejected: why, by name; late: names of those not waited for. up, down: bytes of
    updates and of networks; wire: of all that crossed since the last round, (up, down). seconds: in all; training: of the
    client that took longest; work: of all clients together. loss: mean of the clients'."""

    number: int
    heard: tuple[str, ...]
    rejected: Mapping[str, str]
    late: tuple[str, ...]
    up: int
    down: int
    wire: tuple[int, int]
    seconds: float
    training: float
    work: float
    loss: float


def _nothing() -> None:
    pass


@dataclass
class Rounds:
    """least: clients that a round needs. timeout: seconds after which one without so many is given up. check: raises
    where a process of this machine has ended."""

    hall: Hall
    members: Members
    least: int
    timeout: float
    check: Callable[[], None]
    strategy: Strategy = field(default_factory=FedAvg)
    _late: dict[str, Member] = field(default_factory=dict)
    _lost: dict[str, int] = field(default_factory=dict)
    _crossed: tuple[int, int] = (0, 0)
    _meanwhile: Callable[[], None] = _nothing

    def play(
        self, state: State, asked: Asked, meanwhile: Callable[[], None]
    ) -> tuple[dict[str, Tensor], Round]:
        """One round: the new state, and what came of it. meanwhile: done once, when clients have something to do or must be
        waited for. Raises NetsukeError where too few clients answered with something of use."""
        start = time.monotonic()
        self._meanwhile = meanwhile
        free = self._free()
        asked = replace(asked, lost=self._lost)
        messages = self._messages(state, asked, free)
        down = sum(size(message) for message in messages)
        good, rejected = self._collected(messages, state, asked)
        self._note_lost(asked.round, free, {one.name for one in good} | set(rejected))
        if len(good) < self.least:
            said = (
                "; ".join(f"{name}: {why}" for name, why in rejected.items())
                or "the others were silent"
            )
            raise NetsukeError(
                f"federate: round {asked.round}: {len(good)} of {len(free)} clients gave something of use, {self.least} are needed ({said})"
            )
        arrays, _ = self.strategy.aggregate_train(asked.round, [one.dense() for one in good])
        if arrays is None:
            raise NetsukeError(f"federate: round {asked.round}: the strategy made nothing of it")
        return tensors(arrays), Round(
            number=asked.round, heard=tuple(one.name for one in good), rejected=rejected,
            late=tuple(m.name for m in self._late.values()), up=sum(one.bytes for one in good), down=down,
            wire=self._wire(),
            seconds=time.monotonic() - start, training=max(one.seconds for one in good),
            work=sum(one.seconds for one in good),
            loss=sum(one.loss * one.samples for one in good) / sum(one.samples for one in good),
        )  # fmt: skip

    def _note_lost(self, number: int, free: list[Member], answered: set[str]) -> None:
        """Whose update of a round is not waited for: it must know that what it sent went nowhere."""
        for member in free:
            if member.name in answered:
                self._lost.pop(member.name, None)
            else:
                self._lost[member.name] = number

    def _collected(
        self, messages: list[Message], state: State, asked: Asked
    ) -> tuple[list[Trained], dict[str, str]]:
        """(What came back that is of use, why not by name of the other clients.)"""
        by = compressor(asked.by)
        good, rejected = [], {}
        for member, reply in self.asked(messages):
            try:
                good.append(received.opened(reply, member.name, state, by, member.samples))
            except NetsukeError as error:
                rejected[member.name] = str(error)
        good, absurd = received.sensible(good)
        return good, rejected | absurd

    def worths(self, whole: State, units: Sequence[int]) -> tuple[list[Weighed], dict[str, str]]:
        """(What the units of the whole network are worth to each client, why not by name of the others.) units: of each group.
        Raises NetsukeError where too few say so."""
        free = self._free()
        content = letter(packed(whole))
        asked = [Message(content, member.node, WORTH) for member in free]
        found, rejected = [], {}
        for member, reply in self.asked(asked):
            try:
                found.append(received.weighed(reply, member.name, member.samples, units))
            except NetsukeError as error:
                rejected[member.name] = str(error)
        found, absurd = received.sensible(found)
        if len(found) < self.least:
            raise NetsukeError(
                f"federate: {len(found)} of {len(free)} clients said what channels are worth, {self.least} are needed"
            )
        return found, rejected | absurd

    def gather(self, count: int) -> None:
        """Wait until as many clients are there, or the time-out is over."""
        end = time.monotonic() + self.timeout
        while (
            len(self.members.here()) + len(self.members.refused) < count and time.monotonic() < end
        ):
            self.check()
            time.sleep(WAIT)

    def _wire(self) -> tuple[int, int]:
        """Bytes that crossed since this was asked last."""
        before, self._crossed = self._crossed, self.hall.traffic()
        return self._crossed[0] - before[0], self._crossed[1] - before[1]

    def _free(self) -> list[Member]:
        """Who is there, and not still at an earlier round."""
        end = time.monotonic() + self.timeout
        while True:
            here = self.members.here()
            self._drop_late(here)
            busy = {member.node for member in self._late.values()}
            found = [m for m in here if m.node not in busy]
            if len(found) >= self.least:
                return found
            self._do_meanwhile()
            self.check()
            if time.monotonic() > end:
                raise NetsukeError(
                    f"federate: {len(found)} clients are there, {self.least} are needed, {self.timeout:.0f} s waited; "
                    "start them and give the same command again"
                )
            time.sleep(WAIT)

    def _drop_late(self, here: list[Member]) -> None:
        """Answers to earlier rounds: they are of a network that is no more, but who gave them is free again. So is who was killed
        over one and came back."""
        if self._late:
            there = {member.node: member for member in here}
            again = {n for n, m in self._late.items() if there.get(m.node, m).came != m.came}
            for number in again | set(self.hall.heard(self._late)):
                self._late.pop(number, None)

    def _messages(self, state: State, asked: Asked, free: list[Member]) -> list[Message]:
        there = _There([member.node for member in free])
        made = list(
            self.strategy.configure_train(
                asked.round, record(state), ConfigRecord(), cast(Grid, there)
            )
        )
        sent = letter(packed(state), asked=asked.to_json())
        for message in made:
            message.content = sent
        return made

    def _do_meanwhile(self) -> None:
        do, self._meanwhile = self._meanwhile, _nothing
        do()

    def asked(self, messages: list[Message]) -> list[tuple[Member, Message]]:
        """The answers to these: of all, or of enough and of who came soon after."""
        waiting = {n: self.members.known[node] for n, node in self.hall.ask(messages).items()}
        start, total = time.monotonic(), len(waiting)
        self._do_meanwhile()
        found: list[tuple[Member, Message]] = []
        end = start + self.timeout
        while waiting and time.monotonic() < end:
            for number, reply in self.hall.heard(waiting).items():
                found.append((waiting.pop(number), reply))
            if len(found) >= max(self.least, QUORUM * total) and end == start + self.timeout:
                took = time.monotonic() - start
                end = min(end, start + max(PATIENCE * took, took + GRACE))
            if waiting:
                self.check()
                self.hall.wait()
        self._late |= waiting
        return found


class _There:
    """As much of Flower's grid as a strategy asks for."""

    def __init__(self, nodes: list[int]) -> None:
        self._nodes = nodes

    def get_node_ids(self) -> Iterator[int]:
        return iter(self._nodes)
