"""Calling a network that is served on devices: a plain client, without torch."""

from __future__ import annotations

import json
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import zmq

from netsuke.core.closing import Closing
from netsuke.core.cut import Tensor
from netsuke.core.data import Array
from netsuke.core.errors import NetsukeError
from netsuke.core.files import own_folder, write_json
from netsuke.links.book import check_name, keys_file
from netsuke.wire.keys import own_keys
from netsuke.wire.message import Message, WireError, arrays_of, with_arrays
from netsuke.wire.onward import PATIENCE, Onward
from netsuke.wire.service import Asker

ENDS = ("inputs", "outputs")
TICK = 100
"""Milliseconds between looks at what took too long."""
FOLLOW = 0.25
"""Seconds between looks at whether it is served elsewhere by now."""


@dataclass(frozen=True)
class Serving:
    """What is served, and where it is called. of: the SHA-256 of the whole network's file. inputs, outputs: its tensors
    in order. address, public: of the first part. parts: of each its "device", what it is called there
    ("part"), and what was planned of it. devices: all that may have some. moves: how often they were placed anew. error: why it cannot be called now."""

    name: str
    of: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    address: str
    public: str
    parts: tuple[Mapping[str, Any], ...]
    devices: tuple[str, ...]
    moves: int = 0
    error: str | None = None

    def write(self) -> None:
        write_json(_file(self.name), asdict(self))

    def forget(self) -> None:
        _file(self.name).unlink(missing_ok=True)


def serving(name: str) -> Serving:
    """What this machine serves under a name. Raises NetsukeError where that is nothing."""
    check_name(name)
    try:
        told = json.loads(_file(name).read_text(encoding="utf8"))
        ends = {
            key: tuple(Tensor(**{**t, "shape": tuple(t["shape"])}) for t in told[key])
            for key in ENDS
        }
        rows = {key: tuple(told[key]) for key in ("parts", "devices")}
        return Serving(**{**told, **ends, **rows})
    except FileNotFoundError as error:
        raise NetsukeError(
            f"{name}: nothing is served under this name; netsuke serve RUN --on DEVICES"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise NetsukeError(f"{_file(name)}: is damaged ({error}); serve {name} again") from error


def _file(name: str) -> Path:
    return own_folder("state") / "serving" / f"{name}.json"


class Answer(tuple[Array, ...]):
    """The outputs of a call. how: "" by all parts, "exit" by the first device itself for it was sure, "offline" by the
    first device itself for the next one was gone."""

    how: str = ""


class Served(Closing):
    """Calls what is served, and follows it where it moves: what is under way then is asked anew there. Raises NetsukeError
    from every call for what went wrong, by the part it went wrong in."""

    def __init__(self, what: Serving) -> None:
        self._what = what
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._mark, self._numbers = uuid.uuid4().hex, count()
        self._answers: dict[str, Message] = {}
        self._looked = time.monotonic()
        self._set_out()

    def _set_out(self) -> None:
        """To where the first part is."""
        first, what = self._what.parts[0], self._what
        name = f"{first['device']}: {first['part']}"
        told = {"name": name, "address": what.address, "public": what.public}
        self._onward = Onward(self._context, own_keys(keys_file()), told, self._keep)
        self._turns = {
            self._onward.socket: self._onward.answered,
            self._onward.monitor: self._onward.changed,
        }
        self._poller = zmq.Poller()
        for socket in self._turns:
            self._poller.register(socket, zmq.POLLIN)

    def close(self) -> None:
        self._context.destroy(linger=0)

    def run(self, inputs: Sequence[Array], patience: float = PATIENCE) -> Answer:
        """One call: arrays in the network's order, samples first; outputs likewise."""
        return self._awaited(self.send(inputs, patience))

    def map(self, many: Iterable[Sequence[Array]], patience: float = PATIENCE) -> Iterator[Answer]:
        """Many calls, several of them under way at a time; their answers in order."""
        under_way: deque[str] = deque()
        for inputs in many:
            while self.full:
                self.turn()
            under_way.append(self.send(inputs, patience))
            while under_way and self.answered(under_way[0]):
                yield self.take(under_way.popleft())
        for name in under_way:
            yield self._awaited(name)

    @property
    def full(self) -> bool:
        """Whether as many calls are under way as may be."""
        return self._onward.full

    def send(self, inputs: Sequence[Array], patience: float) -> str:
        """Begin a call; returns the name to take its answer by. Raises NetsukeError for inputs that do not fit."""
        if self._what.error is not None:
            self._follow()
        name, what = f"{self._mark}-{next(self._numbers)}", self._what
        if what.error is not None:
            raise WireError(f"{what.name}: {what.error}")
        if len(inputs) != len(what.inputs):
            raise NetsukeError(f"{what.name}: takes {len(what.inputs)} inputs, got {len(inputs)}")
        names = [tensor.name for tensor in what.inputs]
        message = with_arrays({"of": what.of, "names": names}, inputs)
        self._onward.send(Asker(b"", "", name), message, patience)
        return name

    def answered(self, name: str) -> bool:
        return name in self._answers

    def take(self, name: str) -> Answer:
        """The answer that has come. Raises WireError for what went wrong, by the part it went wrong in."""
        answer, what = self._answers.pop(name), self._what
        if "error" in answer.head:
            raise WireError(f"{what.name}: {answer.head['error']}")
        names = [tensor.name for tensor in what.outputs]
        held = dict(zip(answer.head.get("names", names), arrays_of(answer), strict=True))
        found = Answer(held[output] for output in names)
        found.how = str(answer.head.get("how", ""))
        return found

    def turn(self, bell: zmq.Socket[bytes] | None = None) -> None:
        """Take what has come, or wait a moment for it, or for a bell of one's own to ring."""
        if bell is not None and bell not in self._poller:
            self._poller.register(bell, zmq.POLLIN)
        for socket, _ in self._poller.poll(TICK):
            if socket in self._turns:
                self._turns[socket]()
        self._onward.turn()
        if time.monotonic() > self._looked + FOLLOW:
            self._follow()

    def _follow(self) -> None:
        """Call it where it is served by now."""
        self._looked = time.monotonic()
        found = _now(self._what)
        if found.moves != self._what.moves:
            self._what, before = found, self._onward
            self._set_out()
            self._onward.take_over(before)
        self._what = replace(self._what, error=found.error)
        if found.error is not None:
            self._onward.give_up(found.error)

    def _awaited(self, name: str) -> Answer:
        while not self.answered(name):
            self.turn()
        return self.take(name)

    def _keep(self, asker: Asker, answer: Message) -> None:
        self._answers[asker.name] = answer


def _now(what: Serving) -> Serving:
    """How it is served by now."""
    try:
        return serving(what.name)
    except NetsukeError as error:
        return replace(what, error=str(error).removeprefix(f"{what.name}: "))
