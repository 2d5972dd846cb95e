"""Of figure 3 of `bench shard`: fewer channels across a cut, in bytes, and what that costs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._contest import gap
from bench._control import control, resnet
from bench._harness import Bench, Claim
from bench._kept import kept_run
from bench._setup import RESNET20, network, with_training
from bench._timing import outputs
from netsuke.runtimes.onnxruntime import OnnxRuntime

if TYPE_CHECKING:
    from netsuke.core.cut import Cut
    from netsuke.store import Run

RECIPE = """
[[pass]]
use = "shard.pipeline"
narrow = 0.25
epochs = {epochs}
lr = 0.01
limit = {limit}
"""
EPOCHS, LIMIT = 6, 20_000
FEWER, LOST = 80.0, 1.0


def bottleneck(bench: Bench) -> tuple[tuple[Claim, ...], dict[str, Any], str]:
    """ResNet-20 for two devices: (claims, details, a note)."""
    task = with_training(bench)
    recipe = RECIPE.format(epochs=bench.count(EPOCHS, 1), limit=bench.count(LIMIT, 500))
    run = kept_run(bench, network(bench, RESNET20), (recipe, task), "bottleneck")
    before, after = _floats(run), _crossing(bench, run)
    fewer = 100 * (1 - after / before)
    x, y = task.test
    files = {"original": run.baseline.path, "control": control(bench, run, task, resnet(bench)),
             "narrow": run.artifact.path}  # fmt: skip
    right = {name: outputs(path, x).argmax(1) == y for name, path in files.items()}
    apart = {name: gap(right[name], right["narrow"]) for name in ("original", "control")}
    claims = (
        Claim("bytes a learned bottleneck leaves out", fewer, "%", "≥", FEWER),
        Claim("what it loses against the control", apart["control"]["points"], "pt", "≤", LOST),
    )
    shown = ", ".join(f"{name} {100 * found.mean():.2f} %" for name, found in right.items())
    said = run.record["steps"][-1]["summary"]
    note = f"a learned bottleneck, ResNet-20 on {len(y):,} test images: {shown}; {said} instead of {before:,} bytes"
    return (
        claims,
        {"apart": apart, "bytes": [before, after], "notes": run.record["steps"][-1]["notes"]},
        note,
    )


def _cut(run: Run) -> Cut:
    """The place that was made cheap: all that crosses is a byte a value."""
    (found,) = (
        cut
        for cut in OnnxRuntime().cuts(run.artifact)
        if {t.dtype for t in cut.tensors} <= {"uint8", "int8"}
    )
    return found


def _crossing(bench: Bench, run: Run) -> int:
    """Bytes that the first part really gives for a sample."""
    folder = Path(tempfile.mkdtemp(dir=bench.folder("runs")))
    first = OnnxRuntime().parts(run.artifact, [_cut(run)], folder)[0]
    x = np.zeros((1, *run.artifact.inputs[0][2]), np.float32)
    return sum(part.nbytes for part in OnnxRuntime().open(first.artifact).run((x,)))


def _floats(run: Run) -> int:
    """The fewest bytes that cross the original where it is as narrow in space."""
    (narrow,) = _cut(run).tensors
    return min(
        cut.size
        for cut in OnnxRuntime().cuts(run.baseline)
        if len(cut.tensors) == 1 and cut.tensors[0].shape[1:] == narrow.shape[1:]
    )
