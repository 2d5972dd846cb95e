"""Keys of a machine: a CURVE pair in a file that nobody else may read."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
LENGTH = 40
"""Characters of a key in Z85 (RFC 32/Z85)."""


@dataclass(frozen=True)
class Keys:
    """A CURVE pair in Z85. public may be told to anyone."""

    public: str
    secret: str = field(repr=False)


def new_keys() -> Keys:
    public, secret = zmq.curve_keypair()
    return Keys(public.decode(), secret.decode())


def own_keys(path: Path) -> Keys:
    """The keys in the file, which is made where there is none.

    Raises NetsukeError where others may read it, or where it holds no keys.
    """
    if not path.exists():
        write_private(path, _text(new_keys()))
    check_private(path)
    try:
        given = tomllib.loads(path.read_text(encoding="ascii"))
        keys = Keys(given["public"], given["secret"])
        fits = zmq.curve_public(keys.secret.encode()).decode() == keys.public
    except (ValueError, KeyError, AttributeError, zmq.ZMQError) as error:
        raise NetsukeError(f"{path}: holds no keys; delete it and pair again") from error
    if not fits:
        raise NetsukeError(f"{path}: its two keys do not belong together; delete it and pair again")
    return keys


def check_private(path: Path) -> None:
    """Raise NetsukeError where someone but the owner may read the file (on systems that tell)."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise NetsukeError(
            f"{path}: others may read it (mode {mode:o}); chmod 600 it, or delete it and pair again"
        )


def write_private(path: Path, text: str) -> None:
    """A file for its owner alone, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with beside(path, mode=0o600) as draft:
        draft.write_text(text, encoding="ascii")


def check_public(key: str) -> str:
    """The key, if it can be one. Raises NetsukeError where it cannot."""
    alphabet = set(
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    )
    if len(key) != LENGTH or not set(key) <= alphabet:
        raise NetsukeError(f"{key[:50]!r} is no public key")
    return key


def _text(keys: Keys) -> str:
    import tomli_w

    return tomli_w.dumps({"public": keys.public, "secret": keys.secret})


class Known:
    """Whose calls are answered: a folder with a file for each, ``NAME.key``, that holds a public key.

    It is read anew at every call, so that who is forgotten is forgotten at once.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(self._folder.glob("*.key")))

    def name_of(self, public: str) -> str | None:
        """Who has this key; None where nobody does."""
        for path in self._folder.glob("*.key"):
            # One that just went, or holds anything else, is nobody's; the others are answered all the same.
            with suppress(OSError, UnicodeDecodeError):
                if path.read_text(encoding="ascii").strip() == public:
                    return path.stem
        return None

    def add(self, name: str, public: str) -> None:
        """Raises NetsukeError for a name that could be a path, or a key that is none."""
        if not NAME.fullmatch(name):
            raise NetsukeError(f"{name[:64]!r} is no name of a machine")
        write_private(self._folder / f"{name}.key", check_public(public) + "\n")

    def forget(self, name: str) -> bool:
        """Whether there was one of that name."""
        path = self._folder / f"{name}.key"
        there = path.exists()
        path.unlink(missing_ok=True)
        return there
