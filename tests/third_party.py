"""A third party's package, installed for the length of a test: code and entry points in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netsuke.core.registry import registered

CODE = Path(__file__).with_name("shaver.py").read_text(encoding="utf8")


@contextmanager
def installed(
    folder: Path, patch: pytest.MonkeyPatch, module: str, code: str, points: str
) -> Iterator[None]:
    """``module`` with this code importable, its entry points known."""
    (folder / f"{module}.py").write_text(code, encoding="utf8")
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    patch.syspath_prepend(folder)
    registered.cache_clear()
    try:
        yield
    finally:
        registered.cache_clear()
