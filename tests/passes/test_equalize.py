"""Cross-layer equalization: the function stays, ranges become even, INT8 comes back."""

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from models import example
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.nets.capture import capture
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.graph import op, tensor_of
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.place import Plan, place
from netsuke.passes.quantize.equalize import Equalize, _pairs, rescale
from netsuke.passes.quantize.static import Static
from netsuke.testing import samples
from netsuke.testing.passes import PassConformance


class Depthwise(nn.Module):
    """Depthwise and pointwise convolutions with an activation between, 3×8×8 in, 4 logits out."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.depth, self.point = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 12, 1)
        self.grouped = nn.Conv2d(12, 6, 3, groups=3)
        self.last, self.activation = nn.Linear(6, 4), activation

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.depth(self.activation(self.stem(x))))
        y = self.activation(self.grouped(self.activation(self.point(y))))
        return self.last(torch.flatten(nn.functional.adaptive_avg_pool2d(y, 1), 1))


X = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def depthwise(activation: nn.Module) -> Model:
    torch.manual_seed(0)
    return capture(Depthwise(activation).eval(), (X[:2],))


def unbalanced(model: Model) -> Model:
    """The same function, channels between the layers scaled up and down by up to 100."""
    network = fold_batchnorm(model.network)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for pair in _pairs(network):
            weight = tensor_of(network, pair.first.args[1])
            assert weight is not None
            factor = 100 ** (2 * torch.rand(len(weight), generator=draw) - 1)
            rescale(network, pair.first, factor.double(), 0)
            rescale(network, pair.second, 1 / factor.double(), 1)
    return Model(network=network, example=model.example)


def run(network: GraphModule, x: Tensor = X) -> Tensor:
    with torch.no_grad():
        return network.eval()(x)


def int8_error(model: Model) -> float:
    network = place(model.network, model.example, Plan.of(8, 8))
    calibrate(network, [(X,)])
    wanted = run(model.network)
    return float((run(network) - wanted).square().mean() / wanted.var())


class TestEqualize(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return Equalize()

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> Model:
        return depthwise(nn.ReLU())


def test_the_function_stays_and_int8_comes_back() -> None:
    model = depthwise(nn.ReLU())
    bad = unbalanced(model)
    assert torch.allclose(run(bad.network), run(model.network), atol=1e-4)
    made = Equalize().apply(bad, samples.goal("pi4"))
    assert torch.allclose(run(made.network), run(model.network), atol=1e-4)
    assert int8_error(bad) > 20 * int8_error(made)
    assert int8_error(made) < 1e-4


def test_it_says_how_uneven_the_ranges_were() -> None:
    made = Equalize().apply(unbalanced(depthwise(nn.ReLU())), samples.goal("pi4"))
    step = made.lineage[-1]
    assert step.summary.startswith("4 pairs of layers; ranges of channels differed by up to ")
    assert step.notes == ()
    again = Equalize().apply(made, samples.goal("pi4"))
    for name, tensor in made.network.state_dict().items():
        assert torch.allclose(again.network.state_dict()[name], tensor, rtol=0.02, atol=1e-6)


def test_pairs_apart_by_relu6_are_named_and_can_be_given_up() -> None:
    model = depthwise(nn.ReLU6())
    goal = samples.goal("pi4")
    assert "stem (test_equalize.py:" in str(Equalize().refuse(model, goal))
    assert "relu6 between" in str(Equalize().refuse(model, goal)) or "hardtanh between" in str(
        Equalize().refuse(model, goal)
    )
    made = Equalize(clips="relu").apply(model, goal)
    assert not any(op(n) in ("relu6", "hardtanh") for n in made.network.graph.nodes)
    # Nothing here reaches 6.
    assert torch.allclose(run(made.network), run(model.network), atol=1e-4)
    assert Equalize(clips="relu").remedies() == (Equalize(),)


def test_batchnorm_is_folded_first() -> None:
    model = capture(*example("resnet"), "resnet")
    made = Equalize().apply(model, samples.goal("pi4"))
    assert not any(op(n) == "batch_norm" for n in made.network.graph.nodes)
    x = model.example[0]
    assert torch.allclose(run(made.network, x), run(model.network, x), rtol=1e-3, atol=1e-3)


def test_a_dead_channel_stays_finite() -> None:
    model = depthwise(nn.ReLU())
    with torch.no_grad():
        weight = tensor_of(model.network, "depth.weight")
        assert weight is not None
        weight[3] = 0
        weight[4] = 1e6
    made = Equalize().apply(model, samples.goal("pi4"))
    assert all(bool(torch.isfinite(t).all()) for t in made.network.state_dict().values())


def test_what_it_refuses() -> None:
    goal = samples.goal("pi4")
    model = depthwise(nn.ReLU())
    quantized = Static().apply(samples.network(), goal)
    assert "quantized already" in str(Equalize().refuse(quantized, goal))
    single = capture(nn.Linear(4, 4).eval(), (torch.randn(2, 4),))
    assert "no layer has its output read" in str(Equalize().refuse(single, goal))
    assert Equalize().refuse(model, goal) is None
