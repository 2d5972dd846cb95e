"""Simulation against runtime, layer by layer, on real exports."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from netsuke.core.budget import Budget
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.observer import Observer
from netsuke.core.passes import Pass
from netsuke.core.registry import named
from netsuke.core.runtime import Runtime
from netsuke.intake import take_goal, take_model
from netsuke.layerwise import compare
from netsuke.nets.graph import clone

sys.path.insert(0, str(Path(__file__).parent))
import workload_tiny as tiny


@pytest.fixture(scope="module")
def goal() -> Goal:
    return take_goal(tiny.task(), "local", Budget(), 0, Observer())


@pytest.fixture(scope="module")
def original(goal: Goal) -> Model:
    return take_model(tiny.model(), goal.data, "tiny")


@pytest.fixture(scope="module")
def int8(original: Model, goal: Goal) -> Model:
    return named(Pass, "netsuke.passes", "quantize.static")(samples=64).apply(original, goal)


@pytest.fixture
def runtime() -> Runtime:
    return named(Runtime, "netsuke.runtimes", "onnxruntime")()


def test_every_layer_of_int8_runs_as_simulated(int8: Model, runtime: Runtime, goal: Goal) -> None:
    found = compare(int8, runtime, goal, goal.data.test.head(16, 0))
    names = [layer.name for layer in found]
    assert {"conv1", "conv2", "output"} <= set(names)
    assert len(set(names)) == len(names)
    for layer in found:
        assert layer.samples == 16
        assert layer.spread > 0
        assert layer.agreement > 0.99, layer


def test_the_layers_of_floats_are_compared_too(
    original: Model, runtime: Runtime, goal: Goal
) -> None:
    found = compare(original, runtime, goal, goal.data.test.head(16, 0))
    assert [layer.name for layer in found] == ["conv1", "conv2", "output"]
    assert all(layer.difference < 1e-4 * layer.spread for layer in found)


class Wrong:
    """Executes a network with one layer's weights changed."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def export(self, model: Model, device: object, path: Path) -> object:
        network = clone(model.network)
        with torch.no_grad():
            network.get_parameter("conv2.weight").mul_(1.5)
        return self._runtime.export(replace(model, network=network), device, path)

    def open(self, artifact: object, threads: int = 1) -> object:
        return self._runtime.open(artifact, threads)


def test_the_layer_where_they_part_is_found(original: Model, runtime: Runtime, goal: Goal) -> None:
    found = compare(original, Wrong(runtime), goal, goal.data.test.head(16, 0))
    by = {layer.name: layer for layer in found}
    assert by["conv1"].agreement == 1
    assert by["conv2"].agreement < 0.5
    assert by["conv2"].difference > 0.1 * by["conv2"].spread
