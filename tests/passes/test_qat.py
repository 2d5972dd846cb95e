"""Quantization-aware training as a pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.core.scheme import Uniform
from netsuke.core.task import Task, ready
from netsuke.devices import device
from netsuke.nets.costs import layers
from netsuke.nets.quantizers.place import Plan, place
from netsuke.passes.quantize.qat import Qat
from netsuke.passes.quantize.static import Static
from netsuke.passes.quantize.weights import Weights
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.testing import samples
from netsuke.testing.passes import PassConformance

SHORT = Qat(weights=3, activations=3, edge=4, epochs=4, lr=0.01, batch=32)


class TestQat(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return replace(SHORT, epochs=1)


@pytest.fixture(scope="module")
def carved(model: Model, goal: Goal) -> Model:
    return SHORT.apply(model, goal)


def right(model: Model) -> float:
    x, y = samples.images(1024, 9)
    with torch.no_grad():
        return float((model.network.eval()(torch.from_numpy(x)).argmax(1).numpy() == y).mean())


def test_what_rounding_loses_training_wins_back(model: Model, goal: Goal):
    rounded = Static(weights=2, activations=8).apply(model, goal)
    trained = replace(SHORT, weights=2, activations=8, edge=2).apply(model, goal)
    assert right(rounded) < right(model) - 0.05
    assert right(trained) > right(rounded) + 0.5 * (right(model) - right(rounded))


def test_the_runtime_computes_what_was_trained(carved: Model, goal: Goal, tmp_path: Path):
    artifact = OnnxRuntime().export(carved, goal.device, tmp_path / "m.onnx")
    x, _ = samples.images(1024, 9)
    (ran,) = OnnxRuntime().open(artifact).run((x,))
    with torch.no_grad():
        simulated = carved.network.eval()(torch.from_numpy(x)).numpy()
    assert (ran.argmax(1) == simulated.argmax(1)).mean() >= 0.999


def test_bits_are_as_asked_and_said(carved: Model):
    step = carved.lineage[-1]
    assert step.summary.startswith("W3A3, first and last W4A4; epoch ")
    assert step.notes[0].count(",") == SHORT.epochs + 1
    bits = {x.name: x.weight_bits for x in layers(carved) if x.weights}
    assert bits == {"first": 4, "conv1": 3, "conv2": 3, "last": 4}


def test_a_model_that_is_quantized_already_keeps_its_bits(model: Model, goal: Goal):
    before = Static(weights=4).apply(model, goal)
    after = SHORT.apply(before, goal)
    assert [x.weight_bits for x in layers(after)] == [x.weight_bits for x in layers(before)]
    assert after.lineage[-1].summary.startswith("W4A8; epoch ")


def test_divergence_is_said_and_the_best_kept(model: Model, goal: Goal):
    def broken(x: torch.Tensor) -> torch.Tensor:
        return x * torch.nan

    data = replace(goal.data, augment=broken)
    made = replace(SHORT, weights=8, activations=8).apply(model, replace(goal, data=data))
    (said,) = [n for n in made.lineage[-1].notes if "NaN or infinite" in n]
    assert "epoch 0 is kept" in said
    assert right(made) > right(model) - 0.02


def test_it_refuses_what_it_cannot_help(model: Model, goal: Goal):
    without = replace(goal, data=replace(goal.data, train=None))
    assert "needs training data" in str(SHORT.refuse(model, without))
    fixed = Plan(activations=Uniform(power_of_two=True))
    placed = replace(model, network=place(model.network, model.example, fixed))
    assert "powers of two" in str(SHORT.refuse(placed, goal))
    tables = Weights(scheme="nf4").apply(model, goal)
    assert "no step size" in str(SHORT.refuse(tables, goal))
    float_only = replace(device("pi4"), formats={"fp32": 1e9})
    assert "INT8" in str(SHORT.refuse(model, replace(goal, device=float_only)))


def test_broken_calibration_data_is_an_error(model: Model, goal: Goal):
    x = samples.images(64)[0].copy()
    x[3] = np.nan
    data = ready(Task(train=samples.images(64), calibrate=x))
    with pytest.raises(NetsukeError, match="calibrate: NaN or infinite"):
        SHORT.apply(model, replace(goal, data=data))


def test_without_a_teacher_it_learns_from_labels_alone(model: Model, goal: Goal):
    assert right(replace(SHORT, soft=0.0, epochs=2).apply(model, goal)) > 0.8


def test_remedies_are_longer_then_wider():
    longer, wide = SHORT.remedies()
    assert (longer.settings()["epochs"], longer.settings()["lr"]) == (8, 0.005)
    assert {wide.settings()[k] for k in ("weights", "activations", "edge")} == {8}
    assert len(Qat().remedies()) == 1


@pytest.mark.parametrize("field", ["weights", "activations", "edge"])
def test_bits_out_of_range(field: str):
    with pytest.raises(NetsukeError, match=field):
        Qat(**{field: 1})
