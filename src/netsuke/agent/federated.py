"""The client of a federation that this machine may be, where its owner said with what: in a process of its own, which has torch
and Flower, as the agent has not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsuke.agent.ending import end
from netsuke.agent.state import State
from netsuke.core.files import write_json
from netsuke.wire.message import Message, WireError
from netsuke.wire.service import Handler

PROCESS = "netsuke.federation.joined"
ENDING = 10.0
"""Seconds in which it ends what it started."""


@dataclass(frozen=True)
class Own:
    """What a machine's owner lets federations have. workload: what it trains on. secure: whether it says under masks alone what it
    learned."""

    workload: Path
    secure: bool = False


class Federated:
    """own: None where this machine takes part in nothing. ``turn`` hears what its process says."""

    def __init__(self, state: State, own: Own | None) -> None:
        self._state, self._own = state, own
        self._process: subprocess.Popen[bytes] | None = None
        self._said: dict[str, Any] = {}

    @property
    def verbs(self) -> Mapping[str, Handler]:
        """join: a server's federation. joined: how that is. leave: it."""
        return {"join": self._join, "joined": self._joined, "leave": self._leave}

    def turn(self) -> None:
        """Called over and over."""
        if self._process is None:
            return
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            self._said = json.loads(line)
        elif self._process.poll() is not None:
            code, self._process = self._process.returncode, None
            if "error" not in self._said:
                self._said = {"error": f"the client ended with code {code}"}

    def close(self) -> None:
        if self._process is not None:
            end(self._process, ENDING)
            self._process = None

    def _join(self, asked: Message) -> Message:
        """Whatever it took part in before is over: its server asks anew after a restart."""
        if self._own is None:
            raise WireError(
                "takes part in no federation; its owner may start it with netsuke agent --federate WORKLOAD.py"
            )
        self.close()
        folder, self._said = self._state.federation, {}
        told = {key: asked.text(key) for key in ("address", "authority", "name")}
        own = {"workload": str(self._own.workload), "secure": self._own.secure}
        write_json(folder / "told.json", {**told, **own})
        self._process = subprocess.Popen(
            [sys.executable, "-m", PROCESS, str(folder)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )  # fmt: skip
        assert self._process.stdout is not None
        # Reading what is not there gives nothing, and does not wait.
        os.set_blocking(self._process.stdout.fileno(), False)
        return Message({})

    def _joined(self, asked: Message) -> Message:
        """public: its key, once it has one; or the error that it ended with."""
        return Message(self._said)

    def _leave(self, asked: Message) -> Message:
        self.close()
        return Message({})
