"""Weight-only quantization and dynamic INT8 as passes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from models import captured
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.devices import device
from netsuke.nets.capture import capture
from netsuke.nets.costs import layers
from netsuke.nets.onnx_out import export_onnx
from netsuke.passes.quantize.dynamic import Dynamic
from netsuke.passes.quantize.weights import Weights
from netsuke.testing import samples
from netsuke.testing.passes import PassConformance


class TestWeights(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return Weights(scheme="int4g32")


class TestDynamic(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return Dynamic()

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> Model:
        return captured("mlp")


def test_it_says_what_each_scheme_buys(goal: Goal) -> None:
    carved = Weights(scheme="int4g16", embeddings="int8").apply(captured("encoder"), goal)
    step = carved.lineage[-1]
    assert step.summary == "2 embedding int8, 13 linear int4g16"
    assert step.notes == (
        "int8 embedding: buys bytes of the file and in memory, for onnxruntime reads rows of codes",
        "int4g16 linear: buys bytes and time, for onnxruntime multiplies by the codes (MatMulNBits)",
    )
    bits = {layer.weight_bits for layer in layers(carved) if layer.op in ("linear", "embedding")}
    assert bits == {4, 8}


def test_convolutions_fall_back_from_groups_and_it_is_said(goal: Goal) -> None:
    step = Weights(scheme="nf4g16").apply(samples.network(steps=1), goal).lineage[-1]
    assert step.summary.endswith("nf4g16")
    assert "conv1.weight: nf4, for groups need a matrix" in step.notes
    assert any("not time, for onnxruntime turns codes into floats at load" in n for n in step.notes)


def test_embeddings_can_stay(goal: Goal) -> None:
    carved = Weights(scheme="fp16", embeddings="fp32").apply(captured("encoder"), goal)
    assert carved.lineage[-1].summary == "13 linear fp16"


def test_the_file_shrinks(goal: Goal) -> None:
    model = capture(nn.Linear(256, 256), (torch.randn(2, 256),))
    whole = len(export_onnx(model).content)
    assert len(export_onnx(Weights(scheme="int4").apply(model, goal)).content) < 0.14 * whole


def test_weights_refuse_what_would_win_nothing(goal: Goal) -> None:
    activation = capture(nn.ReLU(), (torch.randn(2, 4),))
    assert Weights().refuse(activation, goal) == "no layer has a weight that is not coded already"
    carved = Weights().apply(captured("mlp"), goal)
    assert Weights().refuse(carved, goal) == "no layer has a weight that is not coded already"
    tiny = capture(nn.Linear(2, 3), (torch.randn(2, 2),))
    assert "nothing would be won: 24 bytes" in str(Weights().refuse(tiny, goal))


@pytest.mark.parametrize("scheme", ["int1", "fp8", "", "fp32"])
def test_an_unknown_scheme_is_an_error_at_once(scheme: str) -> None:
    with pytest.raises(NetsukeError, match="scheme: "):
        Weights(scheme=scheme)
    if scheme not in ("", "fp32"):
        with pytest.raises(NetsukeError, match="scheme: "):
            Weights(embeddings=scheme)


def test_remedies_are_finer() -> None:
    def named(scheme: str) -> list[str]:
        return [r.settings()["scheme"] for r in Weights(scheme=scheme).remedies()]

    assert named("int4") == ["int4g32", "int8"]
    assert named("kmeans3g8") == ["int8"]
    assert named("int8") == named("bf16") == []


def test_dynamic_says_what_stays_float(goal: Goal) -> None:
    step = Dynamic().apply(captured("encoder"), goal).lineage[-1]
    assert step.summary == "W8A8, ranges at each call: 13 linear"
    assert any("scaled_dot_product_attention is not quantized dynamically" in n for n in step.notes)


def test_dynamic_refuses_where_no_time_would_be_won(goal: Goal) -> None:
    convolution = capture(nn.Conv2d(3, 4, 3), (torch.randn(2, 3, 8, 8),))
    assert "no linear layer" in str(Dynamic().refuse(convolution, goal))
    assert "nothing would be won" in str(Dynamic().refuse(captured("resnet"), goal))
    float_only = replace(device("pi4"), formats={"fp32": 1e9})
    assert "INT8" in str(Dynamic().refuse(captured("mlp"), replace(goal, device=float_only)))


def test_both_compose(goal: Goal) -> None:
    both = Weights(scheme="int4").apply(Dynamic().apply(captured("encoder"), goal), goal)
    assert both.lineage[-1].summary == "2 embedding int4"
    with torch.no_grad():
        assert torch.isfinite(both.network(*both.example)).all()
