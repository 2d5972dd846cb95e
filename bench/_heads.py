"""Figure 6: MiniLM-L6 on SST-2 without half of its heads and of its feed-forward width."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from bench._contest import below, contest
from bench._control import Dense, control
from bench._export import torch_onnx
from bench._harness import Bench, Claim, Figure
from bench._kept import kept_run
from bench._minilm import CALIBRATE, minilm, sentences, sst2
from bench._setup import fastest_of, run_facts

if TYPE_CHECKING:
    import numpy as np

    from netsuke.core.task import Task
    from netsuke.store import Run

RECIPE = """[[pass]]
use = "prune.channels"
scope = "local"
cost = "macs"
ratio = 0.499
protect = ["encoder.embeddings"]
epochs = {}
batch = 32
optimizer = "adamw"
lr = 1e-4
weight_decay = 0.01
temperature = 2.0
soft = 0.5
"""
EPOCHS = 4
LENGTH = 64
"""Tokens of a sentence, the rest of the padding cut off: no sentence of the dev and test sets is longer."""


def heads(bench: Bench) -> Figure:
    """The figure."""
    net, task = minilm(bench), _trained(bench)
    ids, mask, y = (part[: bench.count(1821, 64)] for part in _short(sentences(bench, "test")))
    recipe = RECIPE.format(bench.count(EPOCHS, 1))
    run = kept_run(bench, net, (recipe, task), "prune6")
    example = (torch.from_numpy(ids[:2]), torch.from_numpy(mask[:2]))
    theirs = torch_onnx(net, bench.folder("onnx"), example)
    reference, floats = fastest_of(bench, run.baseline.path, theirs, (ids[:1], mask[:1]))
    dense = control(bench, run, task, Dense(f"minilm-{LENGTH}", lambda: minilm(bench), example))
    files = {"Netsuke": run.artifact.path, "dense control": dense, **floats}
    found = contest(files, reference, ((ids, mask), y), bench.count(10, 1))
    ours = found["Netsuke"]
    lost = {name: below(found[name], ours) for name in ("dense control", reference)}
    widths = _widths(run)
    claims = (
        Claim("below the original", lost[reference]["points"], "pt", "≤", 1.5),
        Claim("below the dense control", lost["dense control"]["points"], "pt", "≤", 1.5),
        Claim("faster than FP32", ours.timing.ratio, "x", "≥", 1.6),
        Claim("share of heads left", widths["heads"], "%", "≤", 50.0),
        Claim("share of feed-forward width left", widths["feed-forward"], "%", "≤", 50.0),
    )
    details = {
        "entries": {name: entry.to_dict() for name, entry in found.items()},
        "below": lost,
        "run": run_facts(run),
    }
    return Figure("half of MiniLM's heads and width", claims, len(y), details)


def _trained(bench: Bench) -> "Task":
    """The task in short sentences, with the training ones it does not calibrate on."""
    (ids, mask, y), task = _short(sentences(bench, "train")), sst2(bench)
    rows = slice(CALIBRATE, bench.count(len(y), CALIBRATE + 128))
    return replace(
        task,
        train=((ids[rows], mask[rows]), y[rows]),
        calibrate=_short(task.calibrate),
        validate=(_short(task.validate[0]), task.validate[1]),
        test=(_short(task.test[0]), task.test[1]),
    )


def _short(rows: tuple["np.ndarray", ...]) -> tuple["np.ndarray", ...]:
    """Token ids and masks cut off at LENGTH; what has no tokens, as it is."""
    return tuple(part[:, :LENGTH] if part.ndim == 2 else part for part in rows)


def _widths(run: "Run") -> dict[str, float]:
    """Percent that is left, of the layer that kept the most: heads by the weights of their queries, the
    feed-forward width by those of the layers that lead into it."""
    before, after = (
        {layer["name"]: layer["weights"] for layer in run.record[state]["artifact"]["layers"]}
        for state in ("baseline", "final")
    )
    ends = {"heads": ".attention.self.query", "feed-forward": ".intermediate.dense"}
    return {
        what: max(100 * after[name] / before[name] for name in before if name.endswith(end))
        for what, end in ends.items()
    }
