"""What an agent serves: each network in a process of its own, kept under its limit, and begun anew where it dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netsuke.agent.cgroup import Group, group
from netsuke.agent.ending import end
from netsuke.agent.resident import resident
from netsuke.agent.shelf import Shelf
from netsuke.agent.state import State
from netsuke.core.files import write_json
from netsuke.core.quantity import show
from netsuke.wire.keys import NAME, check_public
from netsuke.wire.message import Message, WireError
from netsuke.wire.service import Handler

FEW_BUFFERS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""What the libraries of a part need not set aside memory for: it computes in onnxruntime's own threads."""
MOST_THREADS = 1024
ENDING = 5.0
"""Seconds in which a part that was told to must end."""
STEADY = 2.0
"""Seconds that a part must have run for its next death to count as its first."""
PAUSE, LONGEST = 0.1, 10.0
"""Seconds until a part that died is begun anew: doubled with every death in a row, up to the longest."""


@dataclass
class _Part:
    """A served network. told: what its process is told. said: what that said when it was ready. since: when it was
    begun, or, while there is no process, when it is to be begun anew. died: how often in a row. group: its limit as the
    system keeps it, where the system does."""

    told: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    said: dict[str, Any] = field(default_factory=dict)
    since: float = 0.0
    died: int = 0
    group: Group | None = None


class Parts:
    """The served networks. ``turn`` keeps them going."""

    def __init__(self, state: State, shelf: Shelf, host: str) -> None:
        self._state, self._shelf, self._host = state, shelf, host
        self._parts: dict[str, _Part] = {}
        for path in sorted(state.parts.glob("*.json")):
            self._parts[path.stem] = _Part(json.loads(path.read_text(encoding="utf8")))

    @property
    def verbs(self) -> Mapping[str, Handler]:
        """serve: a network from now on. part: how one is. stop: no longer. parts: how all are."""
        return {"serve": self._serve, "part": self._told, "stop": self._stop, "parts": self._all}

    @property
    def used(self) -> set[str]:
        """Files that are served."""
        told = [part.told for part in self._parts.values()]
        whole = [
            one[what]["sha256"] for one in told for what in ("artifact", "fallback") if one[what]
        ]
        return {*whole, *(one["head"] for one in told if one["head"])}

    def turn(self) -> None:
        """Called over and over: starts what should run and does not, ends what takes too much."""
        for part in list(self._parts.values()):
            if part.process is None:
                if not part.said.get("error") and time.monotonic() >= part.since:
                    self._start(part)
            elif not part.said:
                self._listen(part)
            elif part.process.poll() == 0:
                self._drop(part.told["name"])
            elif part.process.poll() is not None:
                self._mourn(part)
            else:
                self._weigh(part)

    def close(self) -> None:
        for part in self._parts.values():
            _end(part)

    def _start(self, part: _Part) -> None:
        path, limit = self._state.parts / f"{part.told['name']}.json", part.told["memory"]
        command = [sys.executable, "-m", "netsuke.agent.part", str(path)]
        part.group = None if limit is None else group(part.told["name"], limit)
        part.process = subprocess.Popen(
            part.group.entering(command) if part.group else command,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={**os.environ, **FEW_BUFFERS},
        )  # fmt: skip
        assert part.process.stdout is not None
        # Reading what is not there gives nothing, and does not wait.
        os.set_blocking(part.process.stdout.fileno(), False)
        part.said, part.since = {}, time.monotonic()

    def _listen(self, part: _Part) -> None:
        """Whether its process has said that it is ready, or why it is not."""
        assert part.process is not None
        assert part.process.stdout is not None
        line = part.process.stdout.readline()
        if line:
            part.said = json.loads(line)
            if "address" in part.said and part.told["address"].endswith(":0"):
                # Begun anew it listens where it did: who calls it finds it again.
                self._keep(part, {**part.told, "address": part.said["address"]})
        elif part.process.poll() is not None:
            self._mourn(part)
        if "error" in part.said:
            _end(part, part.said)

    def _mourn(self, part: _Part) -> None:
        """It died, loading or at work: begun anew, later and later where it dies every time; not where it asked for more
        memory than it may take."""
        assert part.process is not None
        if part.group is not None and part.group.overrun:
            said = f"asked for more memory, its limit is {show(part.told['memory'], 'B')}"
            _end(part, {"error": said})
            return
        if part.group is not None:
            part.group.close()
        steady = time.monotonic() - part.since > STEADY
        part.died = 1 if steady else part.died + 1
        part.since = time.monotonic() + min(PAUSE * 2 ** (part.died - 1), LONGEST)
        part.process, part.said = None, {}

    def _weigh(self, part: _Part) -> None:
        limit = part.told["memory"]
        assert part.process is not None
        if limit is None:
            return
        try:
            taken = resident(part.process.pid)
        except ProcessLookupError:
            return
        if taken > limit:
            said = f"took {show(taken, 'B')} of memory, its limit is {show(limit, 'B')}"
            _end(part, {"error": said})

    def _serve(self, asked: Message) -> Message:
        name, limit, idle = asked.text("name"), asked.head.get("memory"), asked.head.get("idle")
        if not NAME.fullmatch(name):
            raise WireError(f"{name[:64]!r} is no name for what is served")
        for what, value in (("memory", limit), ("idle", idle)):
            if value is not None and not (isinstance(value, int) and value > 0):
                raise WireError(f"{what}: {value!r} is no number above 0")
        artifact = self._shelf.artifact(asked.table("artifact"))
        told: dict[str, Any] = {
            "name": name, "artifact": artifact.to_dict(), "folder": str(artifact.path.parent),
            "threads": asked.whole("threads", MOST_THREADS), "memory": limit, "idle": idle,
            "address": f"tcp://{self._host}:0", **_chained(asked), **self._beside(asked),
            "known": str(self._state.folder / "known"), "keys": str(self._state.folder / "keys.toml"),
        }  # fmt: skip
        part = _Part(told)
        self._keep(part, told)
        if name in self._parts:
            _end(self._parts[name])
        self._parts[name] = part
        return Message({"part": name})

    def _beside(self, asked: Message) -> dict[str, Any]:
        """head: an output layer that answers what it is sure of. fallback: a whole network for when the next part is
        gone. Both were shipped."""
        head, fallback = asked.head.get("head"), asked.head.get("fallback")
        if fallback is not None:
            fallback = self._shelf.artifact(asked.table("fallback")).to_dict()
        return {"head": None if head is None else self._shelf.file(head).name, "fallback": fallback}

    def _keep(self, part: _Part, told: dict[str, Any]) -> None:
        part.told = told
        write_json(self._state.parts / f"{told['name']}.json", told)

    def _stop(self, asked: Message) -> Message:
        name = asked.text("name")
        self._drop(name)
        return Message({})

    def _drop(self, name: str) -> None:
        if name in self._parts:
            _end(self._parts.pop(name))
            (self._state.parts / f"{name}.json").unlink(missing_ok=True)

    def _told(self, asked: Message) -> Message:
        name = asked.text("name")
        if name not in self._parts:
            raise WireError(f"nothing is served as {name[:64]!r} here")
        return Message(_state(self._parts[name]))

    def _all(self, asked: Message) -> Message:
        return Message({"parts": {name: _state(part) for name, part in self._parts.items()}})


def _chained(asked: Message) -> dict[str, Any]:
    """guests: keys that may call besides. stage, next: of a part of a network, what it gives and where it goes on."""
    guests, stage, onward = (asked.head.get(key) for key in ("guests", "stage", "next"))
    guests = [check_public(str(key)) for key in guests] if isinstance(guests, list) else []
    if stage is not None and not (
        isinstance(stage, dict) and set(stage) == {"of", "gives", "passes"}
    ):
        raise WireError("stage: is a table of of, gives and passes")
    if onward is not None:
        if not (isinstance(onward, dict) and set(onward) == {"name", "address", "public"}):
            raise WireError("next: is a table of name, address and public")
        check_public(str(onward["public"]))
    return {"guests": guests, "stage": stage, "next": onward}


def _state(part: _Part) -> dict[str, Any]:
    """address and memory where it is ready, error where it will not be, neither while it loads."""
    state = {"sha256": part.told["artifact"]["sha256"], "died": part.died, **part.said}
    return state | ({"pid": part.process.pid} if part.process else {})


def _end(part: _Part, said: dict[str, Any] | None = None) -> None:
    """End its process. said: why it is not begun anew, where it is not."""
    if part.process is None:
        return
    end(part.process, ENDING)
    if part.group is not None:
        part.group.close()
    part.process, part.said = None, said or {}
