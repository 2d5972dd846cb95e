"""Which devices this machine was paired with: a file each, ``links/NAME.toml`` in the user's folder for settings."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

import tomli_w

from netsuke.core.errors import NetsukeError
from netsuke.core.files import own_folder, write_text
from netsuke.core.registry import nearest

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")


@dataclass(frozen=True)
class Entry:
    """address: ``tcp://HOST:PORT`` of its agent. public: the agent's key."""

    address: str
    public: str


def keys_file() -> Path:
    """This machine's own keys."""
    return own_folder("config") / "keys.toml"


def entry(name: str) -> Entry:
    """Raises NetsukeError where no device of that name was paired, or its file is damaged."""
    path = _file(name)
    if not path.exists():
        there = nearest(name, list(names())) if names() else "none is paired yet"
        raise NetsukeError(f"{name}: is not paired ({there}); netsuke pair {name} ADDRESS CODE")
    try:
        return Entry(**tomllib.loads(path.read_text(encoding="utf8")))
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise NetsukeError(f"{path}: is damaged ({error}); pair {name} again") from error


def names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in _file("any").parent.glob("*.toml")))


def write(name: str, found: Entry) -> None:
    write_text(_file(name), tomli_w.dumps(asdict(found)))


def forget(name: str) -> None:
    """Raises NetsukeError as ``entry`` does."""
    entry(name)
    _file(name).unlink()


def check_name(name: str) -> None:
    """Raise NetsukeError where it cannot be the name of a device, or of what is served."""
    if not NAME.fullmatch(name) or name == "local":
        raise NetsukeError(
            f"{name!r}: is no name; use small letters, digits, - and _, such as kitchen-pi"
        )


def _file(name: str) -> Path:
    return own_folder("config") / "links" / f"{name}.toml"
