"""Real agents on loopback for a figure, each with a folder of its own, and nothing of the user's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench._harness import Bench
from netsuke.testing.agents import Running, paired

HOMES = ("XDG_CONFIG_HOME", "XDG_STATE_HOME")
"""Variables that say where a user's settings and state are."""
DISTURBED = Path(__file__).parent / "disturbed"


@contextmanager
def agents(bench: Bench, names: Sequence[str]) -> Iterator[dict[str, Running]]:
    """Paired with this process under these names, and gone at the end."""
    with own_folders(bench) as folder, ExitStack() as stack:
        yield {one: stack.enter_context(paired(folder, one)) for one in names}


@contextmanager
def own_folders(bench: Bench) -> Iterator[Path]:
    """A folder that this process keeps keys and state in meanwhile."""
    with tempfile.TemporaryDirectory(dir=bench.folder("runs")) as name:
        homes = {kind: str(Path(name) / kind.lower()) for kind in HOMES}
        with environment(**homes):
            yield Path(name)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Variables of this process, and of what it starts, set meanwhile."""
    before = {key: os.environ.get(key) for key in values}
    os.environ |= values
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})


@contextmanager
def disturbed(**how: str) -> Iterator[None]:
    """What this process starts meanwhile is other than it should be. how: variables that ``disturbed/sitecustomize.py`` knows."""
    path = os.pathsep.join(filter(None, (str(DISTURBED), os.environ.get("PYTHONPATH"))))
    with environment(PYTHONPATH=path, **how):
        yield
