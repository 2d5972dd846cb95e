"""Control groups: the system's own limit on the memory of a process and of what that starts (Linux, version 2 and 1).

A group may be made by root, or where the agent's own group was handed to its user (systemd: ``Delegate=yes``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ASIDE = "netsuke-agent"
"""Where an agent steps to within its own group."""
KILLS = "oom_kill "
"""Starts the line of a group that says how many of its processes were ended for memory."""


@dataclass(frozen=True)
class Group:
    """One that was made. events: its file that tells of processes ended for memory."""

    folder: Path
    events: str

    def entering(self, command: list[str]) -> list[str]:
        """The command, run in the group from its first byte on: it enters before it begins."""
        enter = 'echo $$ > "$0" && exec "$@"'
        return ["/bin/sh", "-c", enter, str(self.folder / "cgroup.procs"), *command]

    @property
    def overrun(self) -> bool:
        """Whether the system ended a process of it for memory."""
        lines = (self.folder / self.events).read_text(encoding="ascii").splitlines()
        return any(line.startswith(KILLS) and line != f"{KILLS}0" for line in lines)

    def close(self) -> None:
        """Let go of it, once its processes have ended."""
        with suppress(OSError):
            self.folder.rmdir()


def group(name: str, limit: int) -> Group | None:
    """A group of that name within this process's own, whose processes may take so many bytes together; None where this
    process may make none."""
    for home, limits, events in _homes():
        _tidy(home)
        folder = home / f"netsuke-{os.getpid()}-{name}"
        try:
            folder.mkdir()
        except OSError:
            continue
        made = Group(folder, events)
        try:
            (folder / limits).write_text(str(limit), encoding="ascii")
        except OSError:
            made.close()
            continue
        return made
    return None


def _homes() -> Iterator[tuple[Path, str, str]]:
    """(where groups of memory may be made, the files that limit one and tell of it), version 2 first."""
    with suppress(OSError):
        own = dict(
            line.split(":", 2)[1:]
            for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
        )
        for line in Path("/proc/mounts").read_text(encoding="utf8").splitlines():
            _, place, kind, options = line.split()[:4]
            if kind == "cgroup2" and "" in own:
                home = _below(place, own[""].removesuffix(f"/{ASIDE}"))
                if _lends_memory(home):
                    yield home, "memory.max", "memory.events"
            elif kind == "cgroup" and "memory" in options.split(",") and "memory" in own:
                yield _below(place, own["memory"]), "memory.limit_in_bytes", "memory.oom_control"


def _tidy(home: Path) -> None:
    """Groups of agents that are gone."""
    for old in home.glob("netsuke-*-*"):
        if not Path("/proc", old.name.split("-")[1]).exists():
            Group(old, "").close()


def _below(place: str, path: str) -> Path:
    return Path(place) / path.lstrip("/")


def _lends_memory(home: Path) -> bool:
    """Whether groups within a group of version 2 may be limited in memory: then no process may be in it itself, so this
    one steps aside."""
    if "memory" not in (home / "cgroup.controllers").read_text(encoding="ascii").split():
        return False
    lent = home / "cgroup.subtree_control"
    if "memory" not in lent.read_text(encoding="ascii").split():
        aside = home / ASIDE
        aside.mkdir(exist_ok=True)
        (aside / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        lent.write_text("+memory", encoding="ascii")
    return True
