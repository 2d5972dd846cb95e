"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal


@contextmanager
def beside(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """A path beside ``path`` to write to; renamed onto it when the block ends well, else removed.

    The renamed file is flushed to the disk first, so a reader sees the old file or the new one.
    """
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.chmod(mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


HOMES = {"config": ".config", "cache": ".cache", "state": ".local/state"}


def own_folder(kind: Literal["config", "cache", "state"]) -> Path:
    """The user's own folder for what netsuke keeps: in ``$XDG_CONFIG_HOME``, else in ``~/.config``; for
    caches in ``$XDG_CACHE_HOME``, else in ``~/.cache``; for what an agent is at in ``$XDG_STATE_HOME``, else in
    ``~/.local/state`` (XDG Base Directory Specification)."""
    home = os.environ.get(f"XDG_{kind.upper()}_HOME") or Path.home() / HOMES[kind]
    return Path(home) / "netsuke"


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with beside(path) as draft:
        draft.write_text(text, encoding="utf8")


def write_json(path: Path, data: Any) -> None:
    """Write JSON for people to read too; floats round-trip exactly, NaN is refused."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
