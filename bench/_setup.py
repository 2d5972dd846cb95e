"""What the figures on the shared ResNets start from: the network, the data as a Task, a fit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._data import CALIBRATE, VALIDATE, augment, load_test, load_train
from bench._export import torch_onnx
from bench._harness import Bench, Claim
from bench._timing import Sample, compare

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from bench._resnet import ResNet
    from netsuke.core.device import Device
    from netsuke.core.task import Task
    from netsuke.store import Run

RESNET20 = "resnet_cifar10/resnet20_jpeg.safetensors"
RESNET56 = "resnet_cifar10/resnet56_jpeg.safetensors"
POINT = 0.01


def network(bench: Bench, weights: str = RESNET20) -> ResNet:
    """A shared ResNet with its weights."""
    from safetensors.torch import load_file

    from bench._resnet import from_state

    return from_state(load_file(bench.file(weights)))


def post_training(bench: Bench) -> Task:
    """500 training images to calibrate, 2,000 others to choose on, none to train on."""
    from netsuke import Task

    images = load_train(bench)
    return Task(
        calibrate=images.part(CALIBRATE)[0], validate=images.part(VALIDATE), test=load_test(bench)
    )


def with_training(bench: Bench, rows: slice | None = None) -> Task:
    """The same with ``rows`` of the training images to train on: all others when not given."""
    from dataclasses import replace

    rows = rows or slice(VALIDATE.stop, None)
    if bench.quick:
        rows = slice(rows.start, rows.start + 500)
    return replace(post_training(bench), train=load_train(bench).part(rows), augment=augment)


def calibrated() -> Device:
    """This machine, as ``netsuke devices calibrate`` knows it."""
    from netsuke.calibrate import calibrate
    from netsuke.devices.local import local
    from netsuke.links.local import Local
    from netsuke.runtimes.onnxruntime import OnnxRuntime

    runtime = OnnxRuntime()
    return calibrate(local(), runtime, Local(runtime))[0]


def fit(bench: Bench, recipe: str, task: Task, name: str, drop: str = "1 pt") -> Run:
    """``fit_network`` of ResNet-20."""
    return fit_network(bench, network(bench), (recipe, task), name, drop)


def fit_network(
    bench: Bench, net: nn.Module, how: tuple[str, Task], name: str, drop: str = "1 pt"
) -> Run:
    """``netsuke.fit`` by a recipe's text on a task, in a folder of its own, from the start.

    drop: what the gate allows on the validation images. The shared network was trained on them
    (96.9 % there, 88.3 % on the test images), so a retrained one must be allowed to know them less.
    """
    import netsuke
    from netsuke.core.recipe import read_recipe
    from netsuke.flow import Options

    # One of its own: two benches at once do not meet.
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=bench.folder("runs")))
    options = Options(name=name, out=folder, fresh=True)
    recipe, task = how
    return netsuke.fit(
        net,
        task,
        budget=netsuke.Budget(drop=drop),
        recipe=read_recipe(recipe),
        options=options,
    )


def fastest_fp32(bench: Bench, ours: Path, sample: np.ndarray) -> tuple[str, dict[str, Path]]:
    """``fastest_of`` for ResNet-20."""
    return fastest_of(bench, ours, torch_onnx(network(bench), bench.folder("onnx")), sample)


def fastest_of(
    bench: Bench, ours: Path, theirs: Path, sample: Sample
) -> tuple[str, dict[str, Path]]:
    """(name of the faster, both files): Netsuke's own FP32 export and torch.onnx's."""
    files = {"FP32, Netsuke's export": ours, "FP32, torch.onnx": theirs}
    times = compare(files, "FP32, torch.onnx", sample, rounds=bench.count(10, 2))
    return max(times, key=lambda name: times[name].ratio), files


def run_facts(run: Run) -> dict[str, Any]:
    """What a run's record says, shortened."""
    steps = [
        {key: step[key] for key in ("name", "settings", "outcome", "reason", "seconds", "remedy")}
        for step in run.record["steps"]
    ]
    return {
        "verdict": run.record["verdict"]["outcome"],
        "steps": steps,
        "evidence": {e["what"]: e["value"] for e in run.record["final"]["evidence"]},
        "findings": list(run.record["final"]["artifact"]["findings"]),
    }


def stored_bytes(run: Run) -> int:
    """Bytes of ``model.nsk``, which holds the true bits and expands to the runnable file."""
    return (run.folder / "model.nsk").stat().st_size


def unknown(names: dict[str, tuple[str, str, float]]) -> tuple[Claim, ...]:
    """Claims nothing is known about, from name → (unit, relation, limit)."""
    return tuple(Claim(name, None, *rest) for name, rest in names.items())
