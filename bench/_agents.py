"""Real agents on loopback for a figure, each with a folder of its own, and nothing of the user's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench._harness import Bench
from netsuke.testing.agents import Running, paired


@contextmanager
def agents(bench: Bench, names: Sequence[str]) -> Iterator[dict[str, Running]]:
    """Paired with this process under these names, and gone at the end."""
    kinds = ("XDG_CONFIG_HOME", "XDG_STATE_HOME")
    before = {kind: os.environ.get(kind) for kind in kinds}
    with tempfile.TemporaryDirectory(dir=bench.folder("runs")) as name, ExitStack() as stack:
        folder = Path(name)
        for kind in kinds:
            os.environ[kind] = str(folder / kind.lower())
        try:
            yield {one: stack.enter_context(paired(folder, one)) for one in names}
        finally:
            stack.close()
            for kind, value in before.items():
                os.environ.pop(kind, None) if value is None else os.environ.update({kind: value})
