"""Files shipped to a device, by what they hash to: they come in pieces, go on where they broke off, and are there
whole and right or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from netsuke.core.artifact import Artifact, sha256
from netsuke.core.errors import NetsukeError
from netsuke.core.quantity import show
from netsuke.wire.message import Message, WireError
from netsuke.wire.service import Handler

HASH = re.compile(r"[0-9a-f]{64}")
LARGEST = 1 << 40
KEPT = 1e9
"""Bytes of shipped files that are kept besides those in use."""
SPARE = 16e6
"""Bytes of the disk that shipped files leave free."""


class Shelf:
    """The files under a folder. used: which of them are in use."""

    def __init__(self, folder: Path, used: Callable[[], set[str]]) -> None:
        self._folder, self._used = folder, used

    @property
    def verbs(self) -> Mapping[str, Handler]:
        """have: how many bytes of a file are here. put: a piece of one. expand: a stored model to what it
        was packed from."""
        return {"have": self._have, "put": self._put, "expand": self._expand}

    def artifact(self, told: Mapping[str, Any]) -> Artifact:
        """The artifact of that description whose file was shipped. Raises WireError where it is not here."""
        try:
            found = Artifact.from_dict(told, self._folder)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WireError(f"not an artifact's description: {error!r}"[:300]) from error
        path = self.file(found.sha256)
        return Artifact.from_dict({**told, "path": path.name}, self._folder)

    def file(self, name: Any) -> Path:
        """A file that was shipped. Raises WireError where it is not here."""
        path = self._path(name)
        if not path.exists():
            raise WireError(f"{name}: was not shipped; put it first")
        return path

    def _path(self, name: Any) -> Path:
        """What is not a hash could be a path to anywhere."""
        if not isinstance(name, str) or not HASH.fullmatch(name):
            raise WireError(f"{str(name)[:80]!r} is no SHA-256")
        return self._folder / name

    def _have(self, asked: Message) -> Message:
        path = self._path(asked.head.get("sha256"))
        if path.exists():
            os.utime(path)
            return Message({"bytes": path.stat().st_size, "whole": True})
        part = path.with_suffix(".part")
        return Message({"bytes": part.stat().st_size if part.exists() else 0, "whole": False})

    def _put(self, asked: Message) -> Message:
        """Piece by piece in order; the answer to one out of order says where to go on."""
        path, size = self._path(asked.head.get("sha256")), asked.whole("size", LARGEST)
        if path.exists():
            return Message({"bytes": size, "whole": True})
        part, offset = path.with_suffix(".part"), asked.whole("offset", LARGEST)
        there = part.stat().st_size if part.exists() else 0
        if len(asked.frames) != 1 or offset + len(asked.frames[0]) > size:
            raise WireError(f"a piece that does not lie within the {size} bytes of the file")
        self._check_room(size - there)
        if offset == there:
            with part.open("ab") as file:
                file.write(asked.frames[0])
            there += len(asked.frames[0])
        if there < size:
            return Message({"bytes": there, "whole": False})
        return self._arrived(part, path)

    def _arrived(self, part: Path, path: Path) -> Message:
        if sha256(part) != path.name:
            part.unlink()
            raise WireError(
                f"what came is not {path.name}: it was changed on its way; send it again"
            )
        part.chmod(0o600)
        part.replace(path)
        self._tidy({path.name, *self._used()})
        return Message({"bytes": path.stat().st_size, "whole": True})

    def _expand(self, asked: Message) -> Message:
        from netsuke.packer import unpack

        stored, target = (self._path(asked.head.get(key)) for key in ("stored", "sha256"))
        if not target.exists():
            if not stored.exists():
                raise WireError(f"{stored.name}: was not shipped; put it first")
            draft = target.with_suffix(".onnx")
            if unpack(stored, draft).sha256 != target.name:
                draft.unlink()
                raise WireError(f"{stored.name}: expands to another model than {target.name}")
            draft.replace(target)
            stored.unlink()
        return Message({"bytes": target.stat().st_size, "whole": True})

    def _tidy(self, used: set[str]) -> None:
        """Drop what was not used for longest, down to what is kept."""
        idle = sorted(
            (p for p in self._folder.iterdir() if p.name not in used),
            key=lambda p: p.stat().st_mtime,
        )
        total = sum(path.stat().st_size for path in idle)
        for path in idle:
            if total <= KEPT:
                return
            total -= path.stat().st_size
            path.unlink()

    def _check_room(self, more: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if more + SPARE > free:
            raise NetsukeError(
                f"the disk has {show(free, 'B')} left, the file takes {show(more, 'B')} more; make room and ask again"
            )
