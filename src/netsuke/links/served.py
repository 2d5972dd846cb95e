"""Calling a network that is served on devices: a plain client, without torch."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from netsuke.core.data import Array
from netsuke.core.errors import NetsukeError
from netsuke.core.files import own_folder, write_json
from netsuke.links.book import check_name, keys_file
from netsuke.wire.keys import own_keys
from netsuke.wire.message import Message, WireError, arrays_of, with_arrays
from netsuke.wire.onward import PATIENCE, Onward
from netsuke.wire.service import Asker

TICK = 100
"""Milliseconds between looks at what took too long."""


@dataclass(frozen=True)
class Serving:
    """What is served, and where it is called. of: the SHA-256 of the whole network's file. inputs, outputs: names of its
    tensors in order. address, public: of the first part. parts: of each its "device", what it is called there
    ("part"), and what was planned of it."""

    name: str
    of: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    address: str
    public: str
    parts: tuple[Mapping[str, Any], ...]

    def write(self) -> None:
        write_json(_file(self.name), asdict(self))

    def forget(self) -> None:
        _file(self.name).unlink(missing_ok=True)


def serving(name: str) -> Serving:
    """What this machine serves under a name. Raises NetsukeError where that is nothing."""
    check_name(name)
    try:
        told = json.loads(_file(name).read_text(encoding="utf8"))
        lists = {key: tuple(told[key]) for key in ("inputs", "outputs", "parts")}
        return Serving(**{**told, **lists})
    except FileNotFoundError as error:
        raise NetsukeError(
            f"{name}: nothing is served under this name; netsuke serve RUN --on DEVICES"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise NetsukeError(f"{_file(name)}: is damaged ({error}); serve {name} again") from error


def _file(name: str) -> Path:
    return own_folder("state") / "serving" / f"{name}.json"


class Served:
    """Calls what is served. Raises NetsukeError from every call for what went wrong, by the part it went wrong in."""

    def __init__(self, what: Serving) -> None:
        self._what = what
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._answers: dict[str, Message] = {}
        first = what.parts[0]
        told = {
            "name": f"{first['device']}: {first['part']}",
            "address": what.address,
            "public": what.public,
        }
        self._onward = Onward(self._context, own_keys(keys_file()), told, self._keep)
        self._poller = zmq.Poller()
        for socket in (self._onward.socket, self._onward.monitor):
            self._poller.register(socket, zmq.POLLIN)

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._context.destroy(linger=0)

    def run(self, inputs: Sequence[Array], patience: float = PATIENCE) -> tuple[Array, ...]:
        """One call: arrays in the network's order, samples first; outputs likewise."""
        return self._taken(self._sent(inputs, patience))

    def map(
        self, many: Iterable[Sequence[Array]], patience: float = PATIENCE
    ) -> Iterator[tuple[Array, ...]]:
        """Many calls, several of them under way at a time; their answers in order."""
        under_way: list[str] = []
        for inputs in many:
            while self._onward.full:
                self._turn()
            under_way.append(self._sent(inputs, patience))
            while under_way and under_way[0] in self._answers:
                yield self._taken(under_way.pop(0))
        for name in under_way:
            yield self._taken(name)

    def _sent(self, inputs: Sequence[Array], patience: float) -> str:
        if len(inputs) != len(self._what.inputs):
            raise NetsukeError(
                f"{self._what.name}: takes {len(self._what.inputs)} inputs, got {len(inputs)}"
            )
        name = uuid.uuid4().hex
        message = with_arrays({"of": self._what.of, "names": list(self._what.inputs)}, inputs)
        self._onward.send(Asker(b"", "", name), message, patience)
        return name

    def _taken(self, name: str) -> tuple[Array, ...]:
        while name not in self._answers:
            self._turn()
        answer = self._answers.pop(name)
        if "error" in answer.head:
            raise WireError(f"{self._what.name}: {answer.head['error']}")
        held = dict(
            zip(answer.head.get("names", self._what.outputs), arrays_of(answer), strict=True)
        )
        return tuple(held[output] for output in self._what.outputs)

    def _turn(self) -> None:
        for socket, _ in self._poller.poll(TICK):
            if socket is self._onward.socket:
                self._onward.answered()
            else:
                self._onward.changed()
        self._onward.turn()

    def _keep(self, asker: Asker, answer: Message) -> None:
        self._answers[asker.name] = answer
