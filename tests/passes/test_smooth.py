"""SmoothQuant: the function stays, outliers of activations go into weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import Encoder, captured, lively
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.core.task import Task, ready
from netsuke.nets.capture import capture
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.place import Plan, place
from netsuke.passes.quantize.smooth import Smooth
from netsuke.passes.quantize.static import Static
from netsuke.testing import samples
from netsuke.testing.passes import PassConformance

IDS = np.random.default_rng(0).integers(0, 50, (48, 12))


def goal(rows: np.ndarray = IDS) -> Goal:
    data = ready(Task(train=(rows, np.zeros(len(rows), np.int64))))
    return replace(samples.goal("pi4"), data=data)


def outliers() -> Model:
    """An encoder with two channels 60 times as wide as the rest behind its LayerNorms, whose
    weights make up for that, as large language models have them."""
    torch.manual_seed(0)
    net = lively(Encoder())
    with torch.no_grad():
        for layer in net.layers:
            for norm, readers in ((layer.norm1, (layer.query, layer.key, layer.value)),
                                  (layer.norm2, (layer.up,))):  # fmt: skip
                for tensor in (norm.weight, norm.bias):
                    tensor[[3, 17]] *= 60
                for reader in readers:
                    reader.weight[:, [3, 17]] /= 60
    return capture(net.eval(), (torch.from_numpy(IDS[:2]),))


def run(model: Model, x: np.ndarray = IDS) -> Tensor:
    with torch.no_grad():
        return model.network.eval()(torch.from_numpy(x))


def int8_error(model: Model) -> float:
    network = place(model.network, model.example, Plan.of(8, 8))
    calibrate(network, [(torch.from_numpy(IDS),)])
    return float((run(replace(model, network=network)) - run(model)).square().mean())


class TestSmooth(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return Smooth()

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> Model:
        return captured("encoder")

    @pytest.fixture(scope="class")
    @classmethod
    def goal(cls) -> Goal:
        return goal()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_function_stays(alpha: float) -> None:
    model = outliers()
    made = Smooth(alpha=alpha).apply(model, goal())
    assert torch.allclose(run(made), run(model), atol=1e-4)


def test_int8_comes_back() -> None:
    model = outliers()
    made = Smooth().apply(model, goal())
    assert int8_error(model) > 4 * int8_error(made)
    assert "4 LayerNorms" in made.lineage[-1].summary


def test_a_norm_that_more_than_linear_layers_read_is_left_and_named() -> None:
    made = Smooth().apply(captured("encoder"), goal())
    (note,) = made.lineage[-1].notes
    assert note.startswith("left as it is: norm (models.py:")
    assert note.endswith("is read by mean too")


def test_what_it_refuses() -> None:
    assert "no LayerNorm" in str(Smooth().refuse(captured("mlp"), goal()))
    quantized = Static().apply(captured("encoder"), goal())
    assert "quantized already" in str(Smooth().refuse(quantized, goal()))
    with pytest.raises(NetsukeError, match="alpha"):
        Smooth(alpha=1.5)


def test_broken_data_is_an_error() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 3)).eval()
    model = capture(net, (torch.randn(2, 6),))
    x = np.ones((8, 6), np.float32)
    x[2, 1] = np.nan
    data = ready(Task(train=(x[3:], np.zeros(5, np.int64)), calibrate=x))
    with pytest.raises(NetsukeError, match="NaN or infinite values at 0"):
        Smooth().apply(model, replace(samples.goal("pi4"), data=data))


def test_constant_data_leaves_the_function() -> None:
    model = captured("encoder")
    made = Smooth().apply(model, goal(np.zeros((4, 12), np.int64)))
    assert torch.allclose(run(made), run(model), atol=1e-4)
