"""Weights and activations as narrower floats, as a pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from models import captured
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.core.task import ready
from netsuke.devices import device
from netsuke.nets.capture import capture
from netsuke.nets.costs import layers
from netsuke.nets.onnx_out import export_onnx
from netsuke.passes.quantize.floats import Floats
from netsuke.testing import samples
from netsuke.testing.passes import PassConformance

FORMATS = ("fp16", "bf16", "e4m3", "e5m2")


class TestFloats(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return Floats(scheme="e4m3", activations="e4m3", samples=64)


def right(network: torch.nn.Module) -> float:
    x, y = samples.images(512, 9)
    with torch.no_grad():
        return float((network.eval()(torch.from_numpy(x)).argmax(1).numpy() == y).mean())


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_the_accuracy(model: Model, goal: Goal, name: str) -> None:
    made = Floats(scheme=name, activations=name, samples=100).apply(model, goal)  # type: ignore[arg-type]
    bits = 16 if name.endswith("16") else 8
    found = {x.name: x for x in layers(made)}["conv1"]
    assert (found.weight_bits, found.activation_bits, found.format) == (bits, bits, name)
    assert right(made.network) >= right(model.network) - (0.01 if bits == 16 else 0.03)
    share = len(export_onnx(made).content) / len(export_onnx(model).content)
    assert share < 0.8  # nodes and biases are half of so small a file


def test_it_says_what_it_did_and_what_that_buys(model: Model, goal: Goal) -> None:
    step = Floats(scheme="e5m2", activations="bf16", samples=40).apply(model, goal).lineage[-1]
    assert step.summary == "weights e5m2, activations bf16: 3 conv2d, 1 linear"
    assert "checked on at most 40 samples" in step.notes[0]
    assert "bytes of the file, not time" in step.notes[1]
    assert "casts round activations at each call, which costs time" in step.notes[1]
    assert step.notes[2] == f"{goal.device.title} has no e5m2 · bf16 arithmetic"
    has = replace(goal.device, formats={**goal.device.formats, "fp16": 1e10})
    step = Floats(samples=40).apply(model, replace(goal, device=has)).lineage[-1]
    assert step.notes[-1] == f"{goal.device.title} has fp16 arithmetic"


def test_activations_can_stay_and_then_no_data_is_read(model: Model, goal: Goal) -> None:
    broken = ready(replace(samples.task(), calibrate=np.full((8, 1, 8, 8), np.nan, np.float32)))
    step = Floats(activations="fp32").apply(model, replace(goal, data=broken)).lineage[-1]
    assert step.summary == "weights fp16, activations fp32: 3 conv2d, 1 linear"
    assert len(step.notes) == 2
    with pytest.raises(NetsukeError, match="calibrate: NaN or infinite"):
        Floats().apply(model, replace(goal, data=broken))


def test_embeddings_are_coded_too(goal: Goal) -> None:
    step = Floats(activations="fp32").apply(captured("encoder"), goal).lineage[-1]
    assert step.summary == "weights fp16, activations fp32: 2 embedding, 13 linear"


def test_it_refuses_what_it_cannot_help(model: Model, goal: Goal) -> None:
    done = Floats(samples=20).apply(model, goal)
    assert Floats().refuse(done, goal) == "the model is quantized already"
    activation = capture(nn.ReLU(), (torch.randn(2, 4),))
    assert Floats().refuse(activation, goal) == "no layer has a weight that is not coded already"
    tiny = capture(nn.Linear(2, 3), (torch.randn(2, 2),))
    refused = str(Floats().refuse(tiny, goal))
    assert "has no fp16 arithmetic, and 24 bytes of weights would become 112" in refused
    pi = device("pi4")
    has = replace(pi, formats={**pi.formats, "fp16": 1e10})
    assert Floats().refuse(tiny, replace(goal, device=has)) is None


def test_remedies_hold_more_then_leave_activations() -> None:
    tried = [(r.settings()["scheme"], r.settings()["activations"]) for r in
             Floats(scheme="e5m2", activations="e5m2").remedies()]  # fmt: skip
    assert tried == [("e4m3", "e4m3"), ("bf16", "bf16"), ("e5m2", "fp32")]
    assert [r.settings()["scheme"] for r in Floats(activations="fp32").remedies()] == ["bf16"]


@pytest.mark.parametrize(
    "settings", [{"scheme": "fp32"}, {"scheme": "int8"}, {"activations": "int8"}]
)
def test_settings_that_make_no_sense(settings: dict[str, object]) -> None:
    with pytest.raises(NetsukeError, match="is none of"):
        Floats(**settings)  # type: ignore[arg-type]
