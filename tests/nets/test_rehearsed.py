"""Networks that compute as on integers with nothing set."""

from dataclasses import replace

import pytest
import torch
from tests.models import ResNet

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.capture import capture
from netsuke.nets.graph import clone
from netsuke.nets.quantizers.rehearsed import as_integers, rehearsed
from netsuke.nets.training.plan import TrainPlan
from netsuke.nets.training.stint import StintPlan, stint
from netsuke.passes.quantize.static import Static
from netsuke.testing import samples

BATCH = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def goal() -> Goal:
    return samples.goal("pi4")


@pytest.fixture(scope="module")
def model() -> Model:
    return samples.network()


def right(network: torch.nn.Module) -> float:
    x, y = samples.images(1024, 9)
    with torch.no_grad():
        return float((network.eval()(torch.from_numpy(x)).argmax(1).numpy() == y).mean())


@pytest.mark.parametrize(("bits", "axis"), [(8, -1), (4, 0), (2, 0), (3, 1)])
def test_values_are_integers_of_their_own_range(bits: int, axis: int) -> None:
    x = BATCH.double()
    found = as_integers(x, bits, axis)
    rows = found.movedim(axis, 0).flatten(1) if axis >= 0 else found.flatten()[None]
    assert all(len(torch.unique(row)) <= 2**bits for row in rows)
    top = 2 ** (bits - 1) - 1 if axis >= 0 else 2**bits - 1
    rows = x.movedim(axis, 0).flatten(1) if axis >= 0 else x.flatten()[None]
    reach = rows.abs().amax(1) if axis >= 0 else rows.amax(1) - rows.amin(1)
    step = (reach / top)[:, None]
    plain = (rows / step).round() * step - rows
    assert 0 < float((found - x).square().sum()) <= 1.1 * float(plain.square().sum())


def test_a_constant_stays() -> None:
    assert torch.equal(as_integers(torch.zeros(3, 4), 8, 0), torch.zeros(3, 4))
    assert torch.allclose(as_integers(torch.full((3, 4), 2.0), 8, -1), torch.full((3, 4), 2.0))


def test_the_gradient_passes() -> None:
    x = BATCH.clone().requires_grad_()
    as_integers(x, 2, 0).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_no_tensor_comes_or_goes() -> None:
    torch.manual_seed(0)
    network = capture(ResNet(2).eval(), (BATCH[:2],), "resnet").network
    made = rehearsed(network, 4)
    assert list(made.state_dict()) == list(network.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(made.state_dict().values(), network.state_dict().values(), strict=True))  # fmt: skip
    with torch.no_grad():
        apart = [float((rehearsed(network, bits)(BATCH) - network(BATCH)).abs().max()) for bits in (8, 4, 2)]  # fmt: skip
    assert 0 < apart[0] < apart[1] < apart[2]


def test_what_was_rehearsed_is_better_on_integers(model: Model, goal: Goal) -> None:
    """Against the same training without: as the integers that ``quantize.static`` makes of either."""
    plan = StintPlan(training=TrainPlan(epochs=6, lr=0.02, batch=32))
    reached = {}
    for name, start in (("floats", model.network), ("integers", rehearsed(model.network, 2))):
        trained = stint(start, (), goal.data, plan).network
        reached[name] = right(Static(weights=2).apply(floats(model, trained), goal).network)
    assert reached["integers"] > reached["floats"] + 0.02


def floats(model: Model, trained: torch.nn.Module) -> Model:
    """The float network with what was trained."""
    network = clone(model.network)
    network.load_state_dict(trained.state_dict())
    return replace(model, network=network)
