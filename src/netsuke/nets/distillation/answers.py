"""What a teacher answered, kept on disk: question → answer, read from mapped files.

Whatever the disk does, a training goes on: answers that cannot be read are asked for anew, and answers that
cannot be written are not kept.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from netsuke.core.files import beside, own_folder

ROOM = 1 << 30
"""Bytes that answers of all teachers take on disk at most; the oldest leave first."""
Answer = tuple[Tensor, ...]


def folder() -> Path:
    """``netsuke/teachers`` in the user's folder for caches. It may be deleted at any time."""
    return own_folder("cache") / "teachers"


class Answers:
    """Those of one teacher. mark: what they depend on, as a file's name."""

    def __init__(self, mark: str) -> None:
        self._place = folder() / mark
        self._known: dict[str, Callable[[], Answer]] = dict(_read(self._place))
        self._new: dict[str, Answer] = {}

    def get(self, question: str) -> Answer | None:
        """What was answered in an epoch that is over."""
        known = self._known.get(question)
        return None if known is None else known()

    def add(self, question: str, answer: Answer) -> None:
        """Keep it from the next ``flush`` on."""
        self._new[question] = answer

    def flush(self) -> None:
        """Write what is new into a file of its own; warns where the disk refuses."""
        if not self._new:
            return
        parts = {f"{q} {i}": t.contiguous() for q, a in self._new.items() for i, t in enumerate(a)}
        try:
            with beside(self._place / f"{next(iter(self._new))}.safetensors") as draft:
                save_file(parts, draft)
            _make_room()
        except (OSError, SafetensorError) as error:
            warnings.warn(
                f"a teacher's answers are not kept in {self._place}: {error}", stacklevel=2
            )
        else:
            self._known |= {q: lambda a=a: a for q, a in self._new.items()}  # type: ignore[misc]
        self._new = {}


class Unkept(Answers):
    """Of a teacher who is asked about views that never come again."""

    def __init__(self, mark: str) -> None:
        pass

    def get(self, question: str) -> Answer | None:
        return None

    def add(self, question: str, answer: Answer) -> None:
        pass

    def flush(self) -> None:
        pass


def _read(place: Path) -> Iterator[tuple[str, Callable[[], Answer]]]:
    """Each question with what reads its answer. A damaged file is removed; one that another run removed
    meanwhile, or that may not be read, is passed over."""
    for path in sorted(place.glob("*.safetensors")):
        try:
            file = safe_open(path, framework="pt")
        except OSError:
            continue
        except SafetensorError:
            with suppress(OSError):
                path.unlink()
            continue
        names: list[str] = sorted(file.keys())
        for question, parts in groupby(names, lambda name: name.partition(" ")[0]):
            yield question, _reader(file, question, len(list(parts)))


def _reader(file: Any, question: str, parts: int) -> Callable[[], Answer]:
    return lambda: tuple(file.get_tensor(f"{question} {i}") for i in range(parts))


def _make_room() -> None:
    """Another run may remove the same files at the same time."""
    files: list[tuple[float, int, Path]] = []
    for path in folder().glob("*/*.safetensors"):
        with suppress(FileNotFoundError):
            known = path.stat()
            files.append((known.st_mtime, known.st_size, path))
    left = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if left <= ROOM:
            return
        left -= size
        path.unlink(missing_ok=True)
