"""Of figure 3 of `bench shard`: fewer channels across a cut, in bytes, and what that costs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
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
narrow = {narrow}
crossing = "{crossing}"
epochs = {epochs}
lr = 0.01
limit = {limit}
"""
EPOCHS, LIMIT = 6, 20_000
JUDGED, *TOLD = (0.25, "int8"), (0.25, "int4"), (0.125, "int4")
"""Share of the channels that cross, and as what: the claims are of the first, the others are told beside it."""
FEWER, LOST = 80.0, 1.0


@dataclass(frozen=True)
class Learned:
    """bytes: across the cut, before and after. right: by test image. summary, notes: of the step."""

    bytes: tuple[int, int]
    right: dict[str, np.ndarray]
    summary: str
    notes: tuple[str, ...]

    @property
    def fewer(self) -> float:
        """Per cent."""
        return 100 * (1 - self.bytes[1] / self.bytes[0])

    @property
    def apart(self) -> dict[str, Any]:
        """Points lost against the network as it came, and against the control."""
        return {
            name: gap(self.right[name], self.right["narrow"]) for name in ("original", "control")
        }

    @property
    def told(self) -> str:
        shown = ", ".join(f"{name} {100 * each.mean():.2f} %" for name, each in self.right.items())
        lost = self.apart["control"]
        apart = f"{lost['points']:.2f} pt lost, 95 % {lost['low']:.2f} … {lost['high']:.2f}"
        return f"{shown} ({apart}); {self.summary} instead of {self.bytes[0]:,} bytes"

    def to_dict(self) -> dict[str, Any]:
        return {"apart": self.apart, "bytes": list(self.bytes), "notes": list(self.notes)}


def bottleneck(bench: Bench) -> tuple[tuple[Claim, ...], dict[str, Any], tuple[str, ...]]:
    """ResNet-20 for two devices: (claims, details, notes)."""
    judged = _learned(bench, *JUDGED)
    others = {
        f"{narrow:g} {crossing}": _learned(bench, narrow, crossing) for narrow, crossing in TOLD
    }
    lost = judged.apart["control"]["points"]
    claims = (
        Claim("bytes a learned bottleneck leaves out", judged.fewer, "%", "≥", FEWER),
        Claim("what it loses against the control", lost, "pt", "≤", LOST),
    )
    every = (judged, *others.values())
    count = len(judged.right["narrow"])
    notes = tuple(
        f"a learned bottleneck, ResNet-20 on {count:,} test images: {one.told}" for one in every
    )
    return claims, judged.to_dict() | {name: one.to_dict() for name, one in others.items()}, notes


def _learned(bench: Bench, narrow: float, crossing: str) -> Learned:
    task = with_training(bench)
    recipe = RECIPE.format(
        narrow=narrow, crossing=crossing,
        epochs=bench.count(EPOCHS, 1), limit=bench.count(LIMIT, 500),
    )  # fmt: skip
    run = kept_run(bench, network(bench, RESNET20), (recipe, task), "bottleneck")
    x, y = task.test
    files = {"original": run.baseline.path, "control": control(bench, run, task, resnet(bench)),
             "narrow": run.artifact.path}  # fmt: skip
    right = {name: outputs(path, x).argmax(1) == y for name, path in files.items()}
    step = run.record["steps"][-1]
    return Learned(
        (_floats(run), _crossing(bench, run)), right, step["summary"], tuple(step["notes"])
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
