"""Where networks look, and that a student may be made to look there too."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.core.task import Task, ready
from netsuke.devices.local import local
from netsuke.nets.capture import capture
from netsuke.nets.distillation.attention import Attention
from netsuke.nets.distillation.values import looked
from netsuke.nets.fold import fold_batchnorm
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
METHOD = Attention()


def made(width: int) -> GraphModule:
    torch.manual_seed(width)
    return capture(Net(width), X[:2]).network.eval()


def maps(network: GraphModule, like: GraphModule) -> tuple[Tensor, ...]:
    values = [mine for mine, _ in METHOD.pairs(network, like, (X,))]
    return looked(network, (X,), values, METHOD.told)[1]


def apart(one: GraphModule, other: GraphModule) -> float:
    pairs = METHOD.pairs(one, other, (X,))
    return METHOD.distance(pairs)(maps(one, other), maps(other, one), None).item()


def test_the_last_value_of_each_size_is_looked_at_and_none_whose_norm_is_folded() -> None:
    pairs = METHOD.pairs(made(4), fold_batchnorm(made(8)), (X,))
    assert [mine.node.partition("_")[0] for mine, _ in pairs] == ["relu", "relu"]
    assert [mine.size for mine, _ in pairs] == [(8, 8), (4, 4)]
    assert [(mine.width, theirs.width) for mine, theirs in pairs] == [(4, 8), (4, 8)]


def test_outputs_are_the_networks_own() -> None:
    net = made(4)
    values = [mine for mine, _ in METHOD.pairs(net, net, (X,))]
    assert torch.equal(looked(net, (X,), values, METHOD.told)[0], net(X))


def test_maps_are_as_in_the_paper() -> None:
    """Zagoruyko and Komodakis, 2017: squares over channels, of length 1; their mean squared difference."""
    torch.manual_seed(4)
    plain = Net(4).eval()
    torch.manual_seed(8)
    other = Net(8).eval()

    def energy(net: Net) -> list[Tensor]:
        first = net.norm(net.first(X)).relu()
        raw = (first, net.second(first).relu())
        flat = [v.square().sum(1).flatten(1) for v in raw]
        return [f / f.norm(dim=1, keepdim=True) for f in flat]

    expected = sum((a - b).square().mean() for a, b in zip(energy(plain), energy(other), strict=True))  # fmt: skip
    assert apart(made(4), made(8)) == pytest.approx(float(expected), rel=1e-4)


def test_a_network_looks_where_it_looks_itself_and_scaling_changes_nothing() -> None:
    net = made(4)
    assert apart(net, net) == 0
    twice = copy.deepcopy(net)
    for name, parameter in twice.named_parameters():
        if "second" in name:
            parameter.data *= 2
    assert apart(twice, net) == pytest.approx(0, abs=1e-9)
    assert apart(made(8), net) > 1e-3


def test_networks_of_rows_have_no_places() -> None:
    net = capture(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(2, 4))
    assert METHOD.pairs(net.network, net.network, (torch.randn(2, 4),)) == ()


def test_training_with_attention_brings_the_maps_nearer() -> None:
    x = torch.randn(96, 3, 8, 8, generator=torch.Generator().manual_seed(1)).numpy()
    y = (x[:, 0].mean((1, 2)) > 0).astype("int64")
    goal = Goal(data=ready(Task(train=(x, y), validate=(x, y))), device=local())
    student, teacher = made(4), made(8)

    def distance(weight: float) -> float:
        plan = TrainPlan(
            epochs=4, lr=0.02, batch=16, method=Attention(weight=weight), precision="float32"
        )
        last = Way(counts=lambda progress: progress > 0)
        trained = retrain(student, (teacher,), goal, plan, last).network.eval()
        return apart(trained, teacher)

    assert distance(1000.0) < 0.8 * distance(0.0)
