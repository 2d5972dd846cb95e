"""Where networks look, and that a student may be made to look there too."""

import copy

import pytest
import torch
from torch import Tensor, nn

from netsuke.core.goal import Goal
from netsuke.core.task import Task, ready
from netsuke.devices.local import local
from netsuke.nets.capture import capture
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.training.attention import apart, attended, places
from netsuke.nets.training.train import TrainPlan, Way, retrain


class Net(nn.Module):
    """Pictures of 8², then 4²; of any width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.out = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu()
        return self.out(self.second(x).relu().mean((2, 3)))


X = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def made(width: int):
    torch.manual_seed(width)
    return capture(Net(width), X[:2]).network


def test_the_last_node_of_each_size_is_looked_at_and_none_whose_norm_is_folded():
    student, teacher = made(4), fold_batchnorm(made(8))
    names = places(student, teacher, (X,))
    assert [n.partition("_")[0] for n in names] == ["relu", "relu"]
    _, maps = attended(student, (X,), names)
    assert [tuple(m.shape) for m in maps] == [(5, 64), (5, 16)]
    assert all(torch.allclose(m.norm(dim=1), torch.ones(5)) for m in maps)


def test_outputs_are_the_networks_own():
    net = made(4).eval()
    outputs, _ = attended(net, (X,), places(net, net, (X,)))
    assert torch.equal(outputs, net(X))


def test_maps_are_as_in_the_paper():
    """Zagoruyko and Komodakis, 2017: squares summed over channels, flattened, of length 1."""
    net = made(4).eval()
    names = places(net, net, (X,))
    _, maps = attended(net, (X,), names[-1:])
    torch.manual_seed(4)
    plain = Net(4).eval()
    value = plain.second(plain.norm(plain.first(X)).relu()).relu().square().sum(1).flatten(1)
    assert torch.allclose(maps[0], value / value.norm(dim=1, keepdim=True), atol=1e-5)


def test_a_network_looks_where_it_looks_itself_and_scaling_changes_nothing():
    net = made(4).eval()
    names = places(net, net, (X,))
    _, maps = attended(net, (X,), names)
    assert apart(maps, maps) == 0
    twice = copy.deepcopy(net)
    for name, parameter in twice.named_parameters():
        if "second" in name:
            parameter.data *= 2
    _, scaled = attended(twice, (X,), names)
    assert apart(scaled, maps).item() == pytest.approx(0, abs=1e-9)
    _, others = attended(made(8).eval(), (X,), names)
    assert apart(others, maps) > 1e-3


def test_networks_of_rows_have_no_places():
    net = capture(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(2, 4))
    assert places(net.network, net.network, (torch.randn(2, 4),)) == ()


def test_training_with_attention_brings_the_maps_nearer():
    x = torch.randn(96, 3, 8, 8, generator=torch.Generator().manual_seed(1)).numpy()
    y = (x[:, 0].mean((1, 2)) > 0).astype("int64")
    goal = Goal(data=ready(Task(train=(x, y), validate=(x, y))), device=local())
    student, teacher = made(4), made(8)
    names = places(student, fold_batchnorm(teacher), (X,))

    def distance(weight: float) -> float:
        plan = TrainPlan(epochs=4, lr=0.02, batch=16, attention=weight, precision="float32")
        last = Way(counts=lambda progress: progress > 0)
        trained = retrain(student, teacher, goal, plan, last).network.eval()
        maps, theirs = (attended(net.eval(), (X,), names)[1] for net in (trained, teacher))
        return apart(maps, theirs).item()

    assert distance(1000.0) < 0.8 * distance(0.0)
