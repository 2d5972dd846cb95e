"""The form in which a quantized network is trained, and the way back."""

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn.modules.batchnorm import _BatchNorm

from models import captured
from netsuke.core.model import Model
from netsuke.core.scheme import Uniform
from netsuke.nets.graph import clone, tensor_of
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.edges import edges
from netsuke.nets.quantizers.place import Plan, place
from netsuke.nets.quantizers.qat import deployed, freeze, learned_steps, trainable
from netsuke.nets.quantizers.quantizer import BIAS_LIMIT, quantizers, read


def calibrated(model: Model, plan: Plan) -> tuple[GraphModule, Tensor]:
    placed = place(model.network, model.example, plan)
    x = torch.randn(8, *model.example[0].shape[1:], generator=torch.Generator().manual_seed(1))
    calibrate(placed, [(x,)])
    return placed.eval(), x


def without_bias_rounding(network: GraphModule) -> GraphModule:
    """Bias quantizers taken out: training has floats there."""
    network = clone(network)
    for q in list(quantizers(network)):
        if q.limits[1] == BIAS_LIMIT:
            q.node.replace_all_uses_with(q.source)
            network.graph.erase_node(q.node)
    network.recompile()
    return network.double()


def stepped(network: GraphModule, x: Tensor) -> GraphModule:
    """A few steps of training away from the start."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    network.train()
    for _ in range(3):
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()
    return network.eval()


PLANS = {
    "W8A8": Plan.of(8, 8),
    "W4A4": Plan.of(4, 4),
    "W2A8": Plan.of(2, 8),
    "four levels": Plan(Uniform(bits=2, symmetric=False, signed=True, axis=0)),
}


@pytest.mark.parametrize(
    ("name", "plan"),
    [("resnet", "W4A4"), ("mobilenet", "W8A8"), ("densenet", "W4A4"), ("mlp", "W8A8")],
)
def test_it_starts_from_what_calibration_found(name: str, plan: str):
    model = captured(name)
    placed, x = calibrated(model, PLANS[plan])
    made = trainable(placed, model.network, model.example).double().eval()
    with torch.no_grad():
        expected, given = without_bias_rounding(placed)(x.double()), made(x.double())
    # LearnedStep rounds in single precision, so ties may fall to the other side.
    assert (given - expected).abs().median() < 1e-3 * expected.abs().max()


@pytest.mark.parametrize(
    ("name", "plan"),
    [("resnet", "W4A4"), ("mlp", "W8A8"), ("mlp", "W2A8"), ("mlp", "four levels")],
)
def test_what_is_deployed_is_what_was_trained(name: str, plan: str):
    model = captured(name)
    placed, x = calibrated(model, PLANS[plan])
    trained = stepped(trainable(placed, model.network, model.example), x)
    network = without_bias_rounding(deployed(trained, placed))
    with torch.no_grad():
        expected, given = trained(x), network(x.double()).float()
    assert (given - expected).abs().median() < 2e-3 * expected.abs().max()


def test_codes_are_the_same_whatever_sign_batchnorm_has():
    model = captured("mlp")
    network = clone(model.network)
    norm = next(n for n in network.graph.nodes if "batch_norm" in n.name)
    gain = tensor_of(network, norm.args[1])
    assert gain is not None
    with torch.no_grad():
        gain[::2] *= -1
    model = Model(network=network, example=model.example)
    placed, x = calibrated(model, Plan.of(3, 8))
    trained = trainable(placed, network, model.example).eval()
    (live,) = (m for m in trained.modules() if isinstance(m, _BatchNorm))
    with torch.no_grad():
        live.weight[3] *= -1
        live.weight[5] = 0
        made = without_bias_rounding(deployed(trained, placed))
        expected, given = trained(x), made(x.double()).float()
    assert (given - expected).abs().max() < 1e-2 * expected.abs().max()


def test_weights_end_on_their_grid():
    model = captured("resnet")
    placed, x = calibrated(model, Plan.of(2, 8))
    network = deployed(stepped(trainable(placed, model.network, model.example), x), placed)
    for q in quantizers(network):
        if q.constant and q.limits[1] != BIAS_LIMIT:
            weight = tensor_of(network, q.source)
            assert weight is not None
            scale = read(network, q.key).scale.view(-1, *(1,) * (weight.ndim - 1))
            levels = (weight / scale).round()
            assert torch.allclose(levels * scale, weight, rtol=1e-6)
            assert set(levels.unique().tolist()) <= {-1, 0, 1}


def test_batchnorm_lives_in_training_and_all_names_come_back():
    model = captured("resnet")
    placed, _ = calibrated(model, Plan.of())
    made = trainable(placed, model.network, model.example)
    norms = [m for m in made.modules() if isinstance(m, _BatchNorm)]
    assert len(norms) == 19
    assert len(list(learned_steps(made))) == len({q.key for q in quantizers(placed)}) - 20
    back = deployed(made, placed)
    assert {n for n, _ in back.named_parameters()} == {n for n, _ in placed.named_parameters()}
    assert back.code == placed.code


def test_a_frozen_step_is_learned_no_more():
    model = captured("mlp")
    placed, x = calibrated(model, Plan.of(4, 4))
    made = trainable(placed, model.network, model.example)
    freeze(made)
    before = [s.scale.clone() for s in learned_steps(made)]
    stepped(made, x)
    assert all(torch.equal(b, s.scale) for b, s in zip(before, learned_steps(made), strict=True))


def test_edges_are_the_layers_with_none_before_or_behind():
    assert edges(captured("resnet").network) == {"conv1.weight", "linear.weight"}
    assert edges(captured("mlp").network) == {"layers.0.weight", "layers.6.weight"}


def test_a_layer_on_its_own_is_an_edge():
    from netsuke.nets.capture import capture

    assert edges(capture(nn.Linear(4, 2), torch.randn(2, 4)).network) == {"weight"}
