"""Figure 1 of `bench advise`: size, latency and memory predicted from layers, against measured ones."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._harness import Bench, Claim, Figure, say
from bench._setup import RESNET20, RESNET56, calibrated, network
from bench._timing import compare

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from netsuke.core.artifact import Artifact
    from netsuke.core.device import Device

SIZE, LATENCY, MEMORY = 5.0, 20.0, 15.0
"""Percent."""
SIDE, TOKENS, SAMPLES = 96, 64, 16
PRUNED = '[[pass]]\nuse = "prune.channels"\ncost = "macs"\nratio = 0.5\nepochs = 0\n'
INT8 = '[[pass]]\nuse = "quantize.static"\n'
RECIPES = {"FP32": "", "INT8": INT8, "pruned": PRUNED, "pruned, INT8": PRUNED + INT8}
QUICK = ("ResNet-20", "LeNet-5")


@dataclass(frozen=True)
class Net:
    """A network and samples of its inputs: what they are weighs nothing, only their shapes do."""

    make: Callable[[], nn.Module]
    inputs: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Row:
    """One file: (predicted, measured) of each."""

    name: str
    size: tuple[float, float]
    latency: tuple[float, float]
    memory: tuple[float, float]

    def off(self, what: str) -> float:
        """By how many percent the prediction is off."""
        guess, found = getattr(self, what)
        return 100 * abs(guess / found - 1)

    def to_dict(self) -> dict[str, Any]:
        kinds = ("size", "latency", "memory")
        return {what: dict(zip(("predicted", "measured"), getattr(self, what), strict=True)) for what in kinds}  # fmt: skip


def predicted(bench: Bench) -> Figure:
    """Every network in FP32, INT8, with half of its products, and with half of them in INT8."""
    found = nets(bench)
    rows = [row for name in found if not bench.quick or name in QUICK
            for row in _rows(bench, name, found[name])]  # fmt: skip
    claims = (
        Claim("size, the worst", max(r.off("size") for r in rows), "%", "≤", SIZE),
        Claim("latency, median", statistics.median(r.off("latency") for r in rows), "%", "≤", LATENCY),
        Claim("memory, the worst", max(r.off("memory") for r in rows), "%", "≤", MEMORY),
    )  # fmt: skip
    details = {"files": {row.name: row.to_dict() for row in rows}}
    worst = max(rows, key=lambda r: r.off("latency"))
    notes = (f"latency, the worst: {worst.name}, {worst.off('latency'):.0f} % off",)
    return Figure("predicted against measured", claims, len(rows), details, notes)


def nets(bench: Bench) -> dict[str, Net]:
    """The networks of the earlier figures."""
    from bench._lenet import network as lenet
    from bench._minilm import minilm, sentences
    from bench._mobile import MobileNet
    from bench._shapes import mobilenet_v2

    draw = np.random.default_rng(0)
    cifar = (draw.standard_normal((SAMPLES, 3, 32, 32), np.float32),)
    digits = (draw.standard_normal((SAMPLES, 1, 28, 28), np.float32),)
    ids, mask, _ = (part[:SAMPLES] for part in sentences(bench, "train"))
    return {
        "LeNet-300-100": Net(lambda: lenet("LeNet-300-100"), digits),
        "LeNet-5": Net(lambda: lenet("LeNet-5"), digits),
        "ResNet-20": Net(lambda: network(bench, RESNET20), cifar),
        "ResNet-56": Net(lambda: network(bench, RESNET56), cifar),
        "MobileNet-style": Net(MobileNet, cifar),
        "MobileNetV2": Net(mobilenet_v2, (draw.standard_normal((SAMPLES, 3, SIDE, SIDE), np.float32),)),
        "MiniLM": Net(lambda: minilm(bench), (ids[:, :TOKENS], mask[:, :TOKENS])),
    }  # fmt: skip


def _rows(bench: Bench, name: str, net: Net) -> list[Row]:
    """Rates are measured right before what they predict: a shared machine is not as fast all the time."""
    from netsuke.core.footprint import file_bytes, memory_bytes
    from netsuke.core.roofline import model_seconds
    from netsuke.devices.local import local
    from netsuke.probes.memory import fresh

    made = _artifacts(bench, name, net, local())
    files: dict[str, Path] = {how: artifact.path for how, artifact in made.items()}
    say(f"timing: {name}")
    here = calibrated()
    times = compare(files, "FP32", tuple(x[:1] for x in net.inputs), bench.count(10, 2))
    say("timed")
    rows = []
    for how, artifact in made.items():
        layers = artifact.layers
        runs = [fresh(artifact) for _ in range(3)]
        held = statistics.median(r["peak"] - r["idle"] for r in runs)
        row = Row(
            f"{name}, {how}",
            (file_bytes(layers), float(artifact.path.stat().st_size)),
            (model_seconds(layers, here), times["FP32"].seconds / times[how].ratio),
            (memory_bytes(layers, here), float(held)),
        )
        say(f"  {row.name}: size {row.off('size'):.1f} %, latency {row.off('latency'):.0f} % of "
            f"{1e6 * row.latency[1]:.0f} µs, memory {row.off('memory'):.1f} % of {held / 1e6:.1f} MB")  # fmt: skip
        rows.append(row)
    return rows


def _artifacts(bench: Bench, name: str, net: Net, here: Device) -> dict[str, Artifact]:
    """The network by every recipe, exported. Labels are drawn: nothing is trained."""
    from netsuke import Budget, Task
    from netsuke.core.observer import Observer
    from netsuke.core.recipe import read_recipe
    from netsuke.intake import take_goal, take_model
    from netsuke.runtimes.onnxruntime import OnnxRuntime

    inputs = net.inputs if len(net.inputs) > 1 else net.inputs[0]
    labels = np.random.default_rng(0).integers(0, 2, SAMPLES)
    task = Task(calibrate=inputs, validate=(inputs, labels))
    goal = replace(take_goal(task, here, Budget(), 0, Observer()), clock=None)
    original = take_model(net.make().eval(), goal.data, name)
    made, folder = {}, bench.folder("predicted")
    for how, recipe in RECIPES.items():
        model = original
        for each in read_recipe(recipe) if recipe else ():
            assert each.refuse(model, goal) is None, f"{name}: {each.refuse(model, goal)}"
            model = each.apply(model, goal)
        path = folder / f"{name}-{how.replace(', ', '-')}.onnx"
        made[how] = OnnxRuntime().export(model, here, path)
    return made
