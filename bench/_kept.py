"""Runs of the longest figures, kept by what they are made from: figures share them, and a bench that was
cut off goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

import netsuke
from bench._harness import Bench, say
from netsuke import store
from netsuke.core.files import beside, write_json
from netsuke.core.recipe import read_recipe
from netsuke.flow import Options

if TYPE_CHECKING:
    from torch import nn

    from netsuke.core.task import Task
    from netsuke.store import Run

FREE = "100 pt"
"""The gate judges by the validation samples, which the original was trained on: it is asked nothing."""
TELLING = {
    "advisor",
    "agent",
    "cli",
    "control.py",
    "devices",
    "explain.py",
    "gateway",
    "layerwise.py",
    "links",
    "report",
    "serving",
    "study",
    "terminal.py",
    "testing",
    "wire",
}
"""What of the package speaks of networks and changes none. The figures measure a kept artifact anew."""


def kept_run(bench: Bench, net: nn.Module | Path, how: tuple[str, Task], name: str) -> Run:
    """``netsuke.fit`` by a recipe's text on a task; the finished run of the same, where there is one.

    net: a network, or the ONNX file an earlier run came to. The same: recipe, weights, number of samples
    and the text of the package, but for what only tells.
    """
    recipe, task = how
    folder = bench.folder("kept") / _mark(bench, net, recipe, task)
    if (folder / "manifest.json").is_file():
        say(f"{name}: taken from {folder}")
        return store.open_run(folder)
    return netsuke.fit(
        net,
        task,
        budget=netsuke.Budget(drop=FREE),
        recipe=read_recipe(recipe),
        options=Options(name=name, out=folder),
    )


def kept_arrays(
    bench: Bench, how: str, make: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """What long trainings came to. how: all that tells one from another but the package's text, which does as well."""
    path = _kept_as(bench, how, ".npz")
    if not path.is_file():
        found = make()
        with beside(path) as draft, draft.open("wb") as file:
            np.savez(file, **found)
    with np.load(path) as kept:
        return dict(kept)


def kept_json(bench: Bench, how: str, make: Callable[[], Any]) -> Any:
    """As ``kept_arrays``, of anything JSON can hold."""
    path = _kept_as(bench, how, ".json")
    if not path.is_file():
        write_json(path, make())
    return json.loads(path.read_text(encoding="utf8"))


def _kept_as(bench: Bench, how: str, suffix: str) -> Path:
    mark = hashlib.sha256(f"{how} {bench.quick}".encode() + source(TELLING)).hexdigest()[:16]
    return bench.folder("arrays") / f"{mark}{suffix}"


def _mark(bench: Bench, net: nn.Module | Path, recipe: str, task: Task) -> str:
    mark = hashlib.sha256()
    mark.update(read_recipe(recipe).to_toml().encode())
    if isinstance(net, Path):
        mark.update(net.read_bytes())
    else:
        for name, tensor in sorted(net.state_dict().items()):
            mark.update(name.encode() + tensor.contiguous().numpy().tobytes())
    sizes = [len(part[1]) for part in (task.train, task.validate, task.test) if part is not None]
    mark.update(repr([sizes, bench.quick]).encode())
    mark.update(source(TELLING))
    return mark.hexdigest()[:16]


def source_of(*homes: ModuleType) -> str:
    """A mark of the text of some packages, without those in them."""
    files = [file for home in homes for file in sorted(Path(home.__path__[0]).glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def source(without: set[str]) -> bytes:
    """The text of the package, but for these parts of it."""
    package = Path(netsuke.__file__).parent
    return b"".join(
        file.read_bytes()
        for file in sorted(package.rglob("*.py"))
        if file.relative_to(package).parts[0] not in without
    )
