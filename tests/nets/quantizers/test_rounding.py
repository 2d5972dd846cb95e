"""Rounding methods, each against a definition, and their walk through a network."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from models import captured
from netsuke.core.model import Model
from netsuke.nets import graph
from netsuke.nets.capture import capture
from netsuke.nets.graph import argument, op, tensor_of
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.correct import gain, shift
from netsuke.nets.quantizers.place import Plan, place
from netsuke.nets.quantizers.quantizer import quantizers, read
from netsuke.nets.quantizers.rounding.adaround import adaround
from netsuke.nets.quantizers.rounding.gptq import gptq
from netsuke.nets.quantizers.rounding.nearest import nearest
from netsuke.nets.quantizers.rounding.problem import Grid, Problem, Quadratic
from netsuke.nets.quantizers.rounding.reconstruct import reconstruct
from netsuke.nets.quantizers.rounding.replay import Replay
from netsuke.nets.quantizers.rounding.rows import positions, rows

Method = Callable[[Problem], Tensor]


def problem(groups: int = 1, inside: int = 12, out: int = 6, count: int = 200) -> Problem:
    """Correlated inputs, which is where the nearest value is not the best."""
    draw = torch.Generator().manual_seed(3)
    mix = torch.randn(groups, 4, inside, generator=draw)
    x = torch.randn(groups, count, 4, generator=draw) @ mix
    x = x + 0.5 * torch.randn(groups, count, inside, generator=draw)
    weight = torch.randn(groups, out, inside, generator=draw, dtype=torch.float64)
    step = weight.abs().amax(2, keepdim=True) / 3
    grid = Grid(step.expand_as(weight), -3, 3, weight != 0)
    return Problem(weight, grid, x, x @ weight.float().mT)


def error(p: Problem, made: Tensor) -> float:
    return float((p.x @ made.float().mT - p.y).square().mean())


@pytest.mark.parametrize("method", [nearest, gptq, adaround])
@pytest.mark.parametrize("groups", [1, 3])
def test_every_weight_is_on_the_grid(method: Method, groups: int) -> None:
    p = problem(groups)
    codes = method(p) / p.grid.step
    assert torch.allclose(codes, codes.round(), atol=1e-9)
    assert int(codes.min()) >= -3
    assert int(codes.max()) <= 3


@pytest.mark.parametrize(("method", "share"), [(gptq, 0.5), (adaround, 0.95)])
@pytest.mark.parametrize("groups", [1, 3])
def test_the_error_falls_against_the_nearest(method: Method, share: float, groups: int) -> None:
    p = problem(groups)
    assert error(p, method(p)) < share * error(p, nearest(p))


def test_gptq_is_near_the_best_of_all_roundings() -> None:
    p = problem(inside=5, out=1)
    every = torch.cartesian_prod(*[torch.arange(-3.0, 4)] * 5) * p.grid.step[0, 0]
    best = min(error(p, every[i][None, None]) for i in range(len(every)))
    assert error(p, gptq(p)) <= 1.5 * best


def test_more_columns_than_a_block_and_fewer_rows_than_columns() -> None:
    p = problem(inside=150, out=4, count=60)
    assert error(p, gptq(p)) < 0.5 * error(p, nearest(p))


def test_a_quadratic_form_is_the_rows_error() -> None:
    p = problem()
    form, made = Quadratic.of(p, 1e-9), nearest(p)
    assert float(form.error(made).sum()) == pytest.approx(error(p, made) * p.y.numel(), rel=1e-3)


@pytest.mark.parametrize("method", [gptq, adaround])
def test_inputs_that_are_constant_or_zero_leave_the_nearest(method: Method) -> None:
    p = problem()
    zero = Problem(p.weight, p.grid, torch.zeros_like(p.x), torch.zeros_like(p.y))
    assert torch.isfinite(method(zero)).all()
    flat = torch.ones_like(p.x)
    constant = Problem(p.weight, p.grid, flat, flat @ p.weight.float().mT)
    assert error(constant, method(constant)) <= error(constant, nearest(constant))


CONVOLUTIONS = [
    nn.Conv2d(4, 6, 3, 2, 1),
    nn.Conv2d(4, 4, 3, padding="same", groups=4, dilation=2),
    nn.Conv2d(4, 8, (1, 3), padding=(0, 1), groups=2),
    nn.Conv1d(4, 6, 3, padding=1),
    nn.Conv3d(4, 6, 2),
    nn.Linear(5, 3),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_rows_times_weights_are_the_outputs(layer: nn.Module) -> None:
    dims = 1 if isinstance(layer, nn.Linear) else layer.weight.dim() - 2  # type: ignore[union-attr, operator]
    shape = (2, 3, 5) if isinstance(layer, nn.Linear) else (2, 4, *[7] * dims)
    x = torch.randn(shape)
    net = capture(layer.eval(), (x,)).network
    (node,) = [n for n in net.graph.nodes if op(n) in ("conv1d", "conv2d", "conv3d", "linear")]
    weight, bias = (tensor_of(net, a) for a in node.args[1:3])
    assert weight is not None
    assert bias is not None
    output = net(x).detach()
    given, wanted = rows(node, weight.shape[2:], x, output, torch.arange(positions(node, output)))
    groups = int(argument(node, "groups", 1))
    made = given @ weight.reshape(groups, len(weight) // groups, -1).mT
    assert torch.allclose(made + bias.view(groups, 1, -1), wanted, atol=1e-5)


def calibrated(model: Model, bits: int = 4, count: int = 48) -> tuple[GraphModule, list[Tensor]]:
    draw = torch.Generator().manual_seed(1)
    like = model.example[0]
    shape = (count, *like.shape[1:])
    x = (torch.randn(shape, generator=draw) if like.is_floating_point()
         else torch.randint(0, 50, shape, generator=draw))  # fmt: skip
    network = place(model.network, model.example, Plan.of(bits))
    calibrate(network, [(b,) for b in x.split(16)])
    return network, list(x.split(16))


def off(network: GraphModule, model: Model, x: list[Tensor]) -> float:
    with torch.no_grad():
        made, wanted = (torch.cat([n.eval()(b) for b in x]) for n in (network, model.network))
    return float((made - wanted).square().mean())


@pytest.mark.parametrize("name", ["mobilenet", "densenet", "shuffle", "mlp", "encoder"])
def test_a_network_comes_nearer_to_the_float_one(name: str) -> None:
    model = captured(name)
    network, x = calibrated(model)
    before = off(network, model, x)
    done = reconstruct(network, [(b,) for b in x], "gptq")
    assert (done.samples, done.left) == (48, ())
    assert off(network, model, x) < 0.7 * before


def test_quantizers_give_exactly_the_weights_that_were_chosen() -> None:
    network, x = calibrated(captured("mlp"), bits=3)
    reconstruct(network, [(b,) for b in x], "adaround", "norm")
    for q in quantizers(network):
        if q.constant and q.bits == 3:
            weight = tensor_of(network, q.source)
            assert weight is not None
            codes = weight / read(network, q.key).scale[:, None]
            assert torch.allclose(codes, codes.round(), atol=1e-4)
            assert int(codes.round().abs().max()) <= 3


@pytest.mark.parametrize("correct", ["bias", "norm"])
def test_channels_get_their_means_back(correct: str) -> None:
    model = captured("mlp")
    network, x = calibrated(model, bits=3)
    clone = graph.clone(network)
    reconstruct(clone, [(b,) for b in x], "nearest", correct)  # type: ignore[arg-type]

    def bias(n: GraphModule) -> float:
        with torch.no_grad():
            made, wanted = (torch.cat([m.eval()(b) for b in x]) for m in (n, model.network))
        return float((made - wanted).mean(0).abs().mean())

    assert bias(clone) < 0.5 * bias(network)


def test_gain_and_shift_are_those_of_the_channels() -> None:
    draw = torch.Generator().manual_seed(0)
    given = torch.randn(500, 3, generator=draw)
    wanted = given * torch.tensor([1.2, 1.0, 0.9]) + torch.tensor([1.0, 0.0, -2.0])
    factor = gain(wanted, given)
    assert torch.allclose(factor, torch.tensor([1.2, 1.0, 0.9]).double(), atol=1e-5)
    added = shift(wanted, given * factor.float())
    assert torch.allclose(added, torch.tensor([1.0, 0.0, -2.0]).double(), atol=1e-5)
    assert gain(torch.ones(5, 1), torch.ones(5, 1)).tolist() == [1.0]


def test_a_small_limit_changes_the_samples_and_nothing_else() -> None:
    """The values a stage sees do not depend on where the replay stands."""
    network, x = calibrated(captured("shuffle"), count=16)
    layers = [n for n in network.graph.nodes if op(n) in ("conv2d", "linear")]

    def seen(limit: float, samples: int) -> list[Tensor]:
        found: list[Tensor] = []
        replay = Replay(network.eval(), [(b[:samples],) for b in x], layers, limit)
        with torch.no_grad():
            for layer in layers:
                replay.advance(layer)
                replay.show([layer], lambda _, given, gave: found.extend((given[:4], gave[:4])))
        return found

    everything, little = seen(1e12, 16), seen(4e4, 4)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(everything, little, strict=True))
    few = Replay(network, [(b,) for b in x], layers, 4e4).samples
    assert 1 <= few < 16


def test_shared_and_zero_weights_are_rounded_to_nearest_and_named() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared, self.zero = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
            self.last = nn.Linear(6, 2)
            nn.init.zeros_(self.zero.weight)

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.shared(F.relu(self.shared(x))))
            return self.last(y + self.zero(y))

    model = capture(Odd().eval(), (torch.randn(2, 6),))
    network, x = calibrated(model)
    done = reconstruct(network, [(b,) for b in x], "gptq", "bias")
    assert done.layers == 1
    assert [line.partition(" ")[0] for line in done.left] == ["shared", "shared", "zero"]
    assert [line.rpartition(") ")[2] for line in done.left] == [
        "shares its weight", "shares its weight", "has only zeros",
    ]  # fmt: skip


def test_an_outlier_of_a_million_stays_finite() -> None:
    model = captured("mlp")
    network, x = calibrated(model)
    first = next(n for n in network.graph.nodes if op(n) == "linear")
    weight = tensor_of(network, first.args[1].args[0])
    assert weight is not None
    with torch.no_grad():
        weight[0, 0] = 1e6
    calibrate(network, [(b,) for b in x])
    reconstruct(network, [(b,) for b in x], "gptq", "norm")
    with torch.no_grad():
        assert torch.isfinite(network.eval()(x[0])).all()
