"""Layers as two thinner ones: exact at full rank, and no better factors to be had on the data."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netsuke.nets.capture import capture
from netsuke.nets.graph import clone
from netsuke.nets.lowrank.forms import Problem, errors, factors, forms, full_rank, shapes
from netsuke.nets.lowrank.split import bias_of, divisible, settle, split
from netsuke.nets.moments import moments, weight_of


class Net(nn.Module):
    """Every kind of layer that splits: strided, padded, dilated, one-dimensional, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(8, 12, (3, 5), padding="same", bias=False)
        self.far = nn.Conv2d(12, 8, 3, padding=2, dilation=2)
        self.point = nn.Conv2d(8, 10, 1, bias=False)
        self.depth = nn.Conv2d(10, 10, 3, padding=1, groups=10)
        self.row = nn.Conv1d(10, 6, 3)
        self.end = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.far(F.relu(self.wide(F.relu(self.stem(x))))))
        x = F.relu(self.depth(self.point(x))).mean(3)
        return self.end(F.relu(self.row(x)).mean(2))


def problems() -> tuple:
    torch.manual_seed(0)
    batches = [(torch.randn(24, 3, 12, 12).cumsum(3),)]
    model = capture(Net().eval(), batches[0][0][:2])
    layers = divisible(model.network)
    found = dict(moments(model.network, list(layers.values()), batches, constant=True))
    made = {
        name: Problem(weight_of(model.network, n), bias_of(model.network, n), found[n][0])
        for name, n in layers.items()
    }
    return model, layers, made, batches[0][0]


def test_layers_with_groups_do_not_split():
    _, layers, _, _ = problems()
    assert list(layers) == ["stem", "wide", "far", "point", "row", "end"]


@pytest.mark.parametrize("form", ["channel", "spatial"])
def test_full_rank_computes_the_same(form: str):
    model, layers, made, x = problems()
    network = clone(model.network)
    nodes = divisible(network)
    for name, problem in made.items():
        if form in forms(tuple(problem.weight.shape)):
            rank = full_rank(form, tuple(problem.weight.shape))
            split(network, name, nodes[name], form, factors(form, problem, rank))
    settle(network)
    with torch.no_grad():
        given, wanted = network.eval()(x), model.network.eval()(x)
    assert (given - wanted).abs().max() < 1e-4 * wanted.abs().max()
    assert "far.first.weight" in network.state_dict()
    assert "far.weight" not in network.state_dict()
    assert {n.name for n in model.network.graph.nodes if n in layers.values()} <= {
        n.name for n in network.graph.nodes
    }


@pytest.mark.parametrize("form", ["channel", "spatial"])
def test_the_error_falls_with_the_rank_and_is_what_happens(form: str):
    _, _, made, _ = problems()
    problem = made["wide"]
    ranks = (1, 2, 4, 8, full_rank(form, tuple(problem.weight.shape)))
    lost = errors(form, problem, ranks)
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(lost))
    assert lost[0] > 0.02
    assert lost[-1] < 1e-5
    found = factors(form, problem, 4)
    assert (found.first.shape, found.second.shape) == shapes(form, (12, 8, 3, 5), 4)
    joined = _joined(form, found, problem.weight.shape)
    change = (joined - problem.weight).reshape(12, -1).double()
    outputs = change @ problem.covariance @ change.T
    whole = problem.weight.reshape(12, -1).double()
    power = (whole @ problem.covariance @ whole.T).trace()
    assert float(outputs.trace() / power) == pytest.approx(lost[2], rel=1e-2, abs=1e-7)


def _joined(form: str, found, shape) -> Tensor:
    if form == "channel":
        return (found.second.flatten(1) @ found.first.flatten(1)).reshape(shape)
    return torch.einsum("rah,orw->oahw", found.first[..., 0], found.second[:, :, 0])


@pytest.mark.parametrize("form", ["channel", "spatial"])
def test_looking_at_the_data_loses_less_of_the_outputs(form: str):
    _, _, made, _ = problems()
    problem = made["far"]
    blind = factors(form, Problem(problem.weight, problem.bias, None), 4)
    change = _joined(form, blind, problem.weight.shape) - problem.weight
    change = change.reshape(len(change), -1).double()
    lost = (change @ problem.covariance @ change.T).trace()
    whole = problem.weight.reshape(len(change), -1).double()
    power = (whole @ problem.covariance @ whole.T).trace()
    assert errors(form, problem, (4,))[0] < 0.9 * float(lost / power)


def test_the_bias_keeps_the_outputs_means():
    _, _, made, _ = problems()
    problem = made["point"]
    found = factors("channel", problem, 2)
    joined = (found.second.flatten(1) @ found.first.flatten(1)).double()
    mean = joined @ problem.means + found.bias.double()
    wanted = problem.weight.flatten(1).double() @ problem.means + problem.bias.double()
    assert torch.allclose(mean, wanted, atol=1e-5)
