"""Networks that are unusual: shared weights, dead channels, operations nobody knows."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.nets.capture import capture
from netsuke.nets.channels.groups import Groups, groups
from netsuke.nets.channels.surgery import cut
from netsuke.nets.graph import tensor_of
from netsuke.nets.onnx_out import export_onnx


class Chain(nn.Module):
    """6 numbers to 8, 8 to 8 twice, to 3."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.a = nn.Linear(6, 8), nn.Linear(8, 8)
        self.b, self.end = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(F.relu(self.b(F.relu(self.a(F.relu(self.start(x)))))))


def caught(net: nn.Module) -> tuple[Model, Groups]:
    model = capture(net.eval(), torch.randn(2, 6))
    return model, groups(model)


def test_shared_weights_leave_once_for_all_who_share_them():
    net = Chain()
    net.b.weight = net.a.weight
    model, known = caught(net)
    (group,) = known  # what a makes is what b takes in: all widths are one
    assert group.producers == ("start", "a")  # the first name of what is shared
    network = cut(model, {0: [0, 3, 4]}, known)
    assert tensor_of(network, "a.weight") is tensor_of(network, "b.weight")
    assert tensor_of(network, "a.weight").shape == (3, 3)
    assert tensor_of(network, "b.bias").shape == (3,)


class Words(nn.Module):
    """Words to the logits of words, by one table."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)

    def forward(self, ids: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.words(ids)), self.words.weight)


def test_a_weight_that_is_shared_with_the_output_keeps_that_side():
    model = capture(Words().eval(), torch.randint(0, 20, (2, 5)))
    known = groups(model)
    assert [g.units for g in known] == [8]
    assert "the vocabulary of embedding" in dict(known.protected)["words"]
    assert tensor_of(cut(model, {0: [1, 2]}, known), "words.weight").shape == (20, 2)


def test_dead_channels_leave_without_a_trace():
    net = Chain()
    with torch.no_grad():
        for layer in (net.a, net.b):
            layer.weight[::2] = 0
            layer.bias[::2] = 0
    model, known = caught(net)
    network = cut(model, {g.id: range(1, 8, 2) for g in known if g.name in ("a", "b")}, known)
    x = torch.randn(4, 6)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(x), model.network.eval()(x))


def test_a_layer_that_is_all_dead_can_be_cut():
    net = Chain()
    nn.init.zeros_(net.a.weight)
    nn.init.zeros_(net.a.bias)
    model, known = caught(net)
    network = cut(model, {g.id: [0, 1] for g in known}, known)
    assert bool(torch.isfinite(network(*model.example)).all())


def test_a_layer_that_would_be_emptied_is_named():
    model, known = caught(Chain())
    (group,) = [g for g in known if g.name == "a"]
    with pytest.raises(
        NetsukeError, match=r"a\.weight: dimension 0 would be left without channels"
    ):
        cut(model, {group.id: []}, known)


@torch.library.custom_op("zoo_test::swirl", mutates_args=())
def swirl(x: Tensor) -> Tensor:
    """Mixes neighbours, which nobody outside knows."""
    return x + x.roll(1, -1)


@swirl.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Swirled(Chain):
    def forward(self, x: Tensor) -> Tensor:
        return self.end(F.relu(self.b(F.relu(swirl(self.a(F.relu(self.start(x))))))))


def test_a_custom_operation_protects_what_it_is_given_by_name():
    model, known = caught(Swirled())
    line = Swirled.forward.__code__.co_firstlineno + 1
    assert (
        dict(known.protected)["a"]
        == f"unknown operation swirl at swirl (test_odd_networks.py:{line})"
    )
    assert {g.name for g in known} == {"start", "b"}
    network = cut(model, {g.id: [0, 5] for g in known}, known)
    assert tensor_of(network, "a.weight").shape == (8, 2)
    with pytest.raises(NetsukeError, match=r"onnx: the model cannot be exported: .*") as error:
        export_onnx(Model(network=network, example=model.example, name="swirled"))
    assert "\n" not in str(error.value)


class Distant(Chain):
    """Infinite on the way, though not in the end."""

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(F.relu(self.start(x)))).clamp(max=0).log()
        return self.end(F.relu(self.b(torch.where(y < 0, torch.exp(y), 1.0))))


def test_an_infinite_value_on_the_way_is_compared_too():
    model, known = caught(Distant())
    network = cut(model, {g.id: [0, 5] for g in known}, known)
    assert bool(torch.isfinite(network(*model.example)).all())


class Normed(nn.Module):
    """Weights computed from a direction and a length."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.utils.parametrizations.weight_norm(nn.Linear(6, 8))
        self.end = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(F.relu(self.start(x)))


def test_a_layer_whose_weight_is_computed_is_protected_by_name():
    _, known = caught(Normed())
    assert len(known) == 0
    reason = dict(known.protected)["start"]
    assert reason == "its weight is computed, by _weight_norm, in a way that is not followed"


class Branching(Chain):
    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(F.relu(self.start(x))))
        if y.sum() > 0:
            y = self.b(y)
        return self.end(y)


def test_control_flow_by_data_is_refused_with_the_users_line_and_the_mend():
    line = Branching.forward.__code__.co_firstlineno + 2
    words = rf"depends on the data's values at test_odd_networks\.py:{line} .*use torch\.where"
    with pytest.raises(NetsukeError, match=words) as error:
        capture(Branching().eval(), torch.randn(2, 6))
    assert "\n" not in str(error.value)
