"""What an agent is asked to measure: one at a time, in the order asked, each in a process of its own.

A job is a folder, so a caller that was cut off asks for its result later, and an agent that was restarted goes on.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netsuke.agent.shelf import Shelf
from netsuke.core.files import write_json
from netsuke.wire.message import Message, WireError, arrays_of
from netsuke.wire.service import Handler

NAME = re.compile(r"[0-9a-f]{8,64}")
KEPT = 50
"""Results that are kept for who was cut off."""
WAITING = 100


class Jobs:
    """The jobs under a folder. ``turn`` starts what is next and sees what has ended."""

    def __init__(self, folder: Path, shelf: Shelf, artifacts: Path) -> None:
        self._folder, self._shelf, self._artifacts = folder, shelf, artifacts
        self._waiting = self._unfinished()
        self._running: tuple[Path, subprocess.Popen[bytes]] | None = None

    @property
    def verbs(self) -> Mapping[str, Handler]:
        """job: measure something. result: what came of it so far. drop: it is not wanted any more."""
        return {"job": self._job, "result": self._result, "drop": self._drop}

    @property
    def used(self) -> set[str]:
        """Files of jobs that are not done."""
        found: set[str] = set()
        for folder in self._waiting:
            job = json.loads((folder / "job.json").read_text(encoding="utf8"))
            found |= {job[who]["sha256"] for who in ("subject", "baseline") if who in job}
            found |= set(job.get("files", ()))
        return found

    def turn(self) -> None:
        """Called over and over: reaps what ended, starts what waits."""
        if self._running is not None:
            folder, process = self._running
            if process.poll() is None:
                return
            if folder.exists() and not (folder / "result.json").exists():
                said = f"the measuring process ended with code {process.returncode}"
                write_json(folder / "result.json", {"error": said})
            self._forget(folder)
            self._running = None
        if self._waiting:
            self._running = (self._waiting[0], self._start(self._waiting[0]))

    def close(self) -> None:
        """End what runs; it is begun anew by the next agent."""
        if self._running is not None:
            self._running[1].kill()
            self._running[1].wait()
            self._running = None

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "netsuke.agent.work", str(folder)]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def _forget(self, folder: Path) -> None:
        """It waits no longer: it is done, or was dropped."""
        self._waiting = [one for one in self._waiting if one != folder]

    def _unfinished(self) -> list[Path]:
        """What an agent before this one left without a result, the oldest first."""
        found = [
            p
            for p in self._folder.iterdir()
            if (p / "job.json").exists() and not (p / "result.json").exists()
        ]
        return sorted(found, key=lambda p: ((p / "job.json").stat().st_mtime_ns, p.name))

    def _job(self, asked: Message) -> Message:
        """The job's name is the request's: who asks twice gets one."""
        folder, job = self._at(asked.text("id")), dict(asked.table("job"))
        if not (folder / "job.json").exists():
            if len(self._waiting) >= WAITING:
                raise WireError(f"{WAITING} jobs wait already; ask again when some are done")
            job |= self._shipped(job)
            self._keep_few()
            folder.mkdir(mode=0o700, exist_ok=True)  # left by one that a full disk broke off
            if asked.frames:
                self._sample(folder, asked)
            write_json(folder / "job.json", {**job, "artifacts": str(self._artifacts)})
            self._waiting.append(folder)
        return Message({"job": folder.name})

    def _shipped(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The artifacts it is about as they lie here. Raises WireError where one was not shipped."""
        named = [who for who in ("subject", "baseline") if who in job]
        return {who: self._shelf.artifact(job[who]).to_dict() for who in named}

    def _sample(self, folder: Path, asked: Message) -> None:
        import numpy as np

        arrays = arrays_of(asked)
        np.savez(folder / "sample.npz", **{f"{i:02d}": a for i, a in enumerate(arrays)})  # type: ignore[arg-type]

    def _result(self, asked: Message) -> Message:
        folder = self._at(asked.text("job"))
        if not (folder / "job.json").exists():
            raise WireError(f"{folder.name}: there is no such job; ask for it anew")
        if not (folder / "result.json").exists():
            return Message({"done": False, "before": self._waiting.index(folder)})
        return Message(
            {"done": True, **json.loads((folder / "result.json").read_text(encoding="utf8"))}
        )

    def _drop(self, asked: Message) -> Message:
        folder = self._at(asked.text("job"))
        if self._running is not None and self._running[0] == folder:
            self.close()
        self._forget(folder)
        shutil.rmtree(folder, ignore_errors=True)
        return Message({})

    def _at(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise WireError(f"{name[:40]!r} names no job")
        return self._folder / name

    def _keep_few(self) -> None:
        done = sorted(
            (p for p in self._folder.iterdir() if (p / "result.json").exists()),
            key=lambda p: p.stat().st_mtime,
        )
        for old in done[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)
