"""Channel groups: what must leave together, and what must stay."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import captured
from netsuke.nets.capture import capture
from netsuke.nets.channels.groups import Group, Groups, groups


class Net(nn.Module):
    """Layers by name, and a forward given as a function of them."""

    def __init__(self, run: Callable[["Net", Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self._run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self._run(self, x)


def found(module: nn.Module, *shape: int) -> Groups:
    return groups(capture(module.eval(), torch.randn(2, *shape)))


def named(known: Groups, name: str) -> Group:
    return next(g for g in known if g.name == name)


def reasons(known: Groups, layer: str) -> str:
    return dict(known.protected).get(layer, "")


def conv(inside: int, out: int, **more: int) -> nn.Conv2d:
    return nn.Conv2d(inside, out, 3, padding=1, **more)


def test_a_stage_shares_its_channels_and_each_block_has_its_own():
    known = groups(captured("resnet"))
    stream = named(known, "conv1")
    assert stream.units == 16
    assert {"conv1", "layer1.0.conv2", "layer1.2.conv2"} <= set(stream.producers)
    assert {"layer1.1.conv1", "layer2.0.conv1"} <= set(stream.consumers)
    inner = named(known, "layer2.1.conv1")
    assert (inner.units, inner.producers, inner.consumers) == (
        32, ("layer2.1.conv1",), ("layer2.1.conv2",),
    )  # fmt: skip


def test_a_padded_shortcut_carries_its_channels_into_the_middle_of_the_next_stage():
    known = groups(captured("resnet"))
    stream, added = named(known, "conv1"), named(known, "layer2.0.conv2")
    (second,) = [m for m in stream.members if m.tensor == "layer2.0.conv2.weight"]
    assert [second.indices(u).tolist() for u in (0, 15)] == [[8], [23]]
    (own,) = [m for m in added.members if (m.tensor, m.dim) == ("layer2.0.conv2.weight", 0)]
    assert own.indices(0).tolist() == [0]
    assert own.indices(8).tolist() == [24]
    assert added.units == 16


def test_statistics_of_batchnorm_leave_with_their_channel():
    (inner,) = [g for g in groups(captured("mlp")) if g.name == "layers.0"]
    tensors = {m.tensor for m in inner.members}
    assert {
        "layers.1.weight",
        "layers.1.bias",
        "layers.1.running_mean",
        "layers.1.running_var",
    } <= tensors


def test_flattening_spreads_a_channel_over_the_places_of_its_picture():
    known = groups(captured("densenet"))
    (member,) = [m for m in named(known, "transition").members if m.tensor == "linear.weight"]
    assert member.indices(2).tolist() == list(range(32, 48))


def test_concatenated_channels_stay_apart():
    known = groups(captured("densenet"))
    first, second = named(known, "stem"), named(known, "convs.0")
    (a,) = [m for m in first.members if m.tensor == "convs.1.weight" and m.dim == 1]
    (b,) = [m for m in second.members if m.tensor == "convs.1.weight" and m.dim == 1]
    assert a.indices(3).tolist() == [3]
    assert b.indices(3).tolist() == [19]


def test_a_depthwise_layer_follows_the_channels_it_is_given():
    known = groups(captured("mobilenet"))
    wide = named(known, "blocks.0.expand.0")
    assert "blocks.0.depthwise.0" in wide.producers
    assert set(wide.consumers) == {"blocks.0.squeeze.down", "blocks.0.project.0"}


def test_every_group_of_a_grouped_convolution_gives_up_the_same_place():
    net = Net(
        lambda s, x: s.end(s.mid(s.start(x)).mean((2, 3))),
        start=conv(3, 8), mid=conv(8, 12, groups=2), end=nn.Linear(12, 3),
    )  # fmt: skip
    known = found(net, 3, 8, 8)
    (member,) = [m for m in named(known, "start").members if m.tensor == "start.weight"]
    assert named(known, "start").units == 4
    assert member.indices(1).tolist() == [1, 5]
    assert named(known, "mid").units == 6


def test_heads_are_units_and_their_size_is_locked():
    known = groups(captured("encoder"))
    heads = named(known, "layers.0.query")
    assert heads.units == 4
    assert {m.tensor for m in heads.members if m.role == "producer"} == {
        f"layers.0.{name}.weight" for name in ("query", "key", "value")
    }
    (out,) = [m for m in heads.members if m.tensor == "layers.0.out.weight"]
    assert out.indices(1).tolist() == list(range(8, 16))


def test_what_is_protected_is_named_with_its_reason_and_source_line():
    known = groups(captured("encoder"))
    assert reasons(known, "head") == "it is an output of the network"
    narrower = groups(captured("encoder"), heads="narrower")
    assert reasons(narrower, "head") == "it is an output of the network"
    net = Net(
        lambda s, x: s.end(s.start(x).softmax(1).mean((2, 3))),
        start=conv(3, 8),
        end=nn.Linear(8, 3),
    )
    assert reasons(found(net, 3, 8, 8), "start").startswith("softmax at softmax (test_groups.py:")


class Summed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start, self.end = conv(3, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cumsum(self.start(x), 1)
        return self.end(y.mean((2, 3)))


def test_an_unknown_operation_protects_what_it_is_given():
    known = found(Summed(), 3, 8, 8)
    assert len(known) == 0
    line = Summed.forward.__code__.co_firstlineno + 1
    assert reasons(known, "start") == f"unknown operation cumsum at cumsum (test_groups.py:{line})"


def test_a_sum_over_channels_protects_them():
    known = found(
        Net(lambda s, x: s.a(x) * s.b(x).mean(1, keepdim=True), a=conv(3, 4), b=conv(3, 4)), 3, 8, 8
    )
    assert "mean at" in reasons(known, "b")


def test_tied_weights_are_one():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.c(F.relu(self.b(F.relu(self.a(x)))))

    # a's outputs are a's inputs, and the input of the network stays
    assert "joined to a fixed dimension" in reasons(found(Tied(), 8), "a")


@pytest.mark.parametrize(
    ("move", "units"),
    [
        (lambda x: torch.chunk(x, 2, 1)[0], 24),
        (lambda x: F.glu(x, 1).repeat(1, 2, 1, 1)[:, :12], 12),
        (lambda x: F.pixel_shuffle(x, 2).repeat(1, 2, 1, 1), 6),
        (lambda x: x.unflatten(1, (2, 12)).transpose(1, 2).flatten(1, 2)[:, :12], 12),
        (lambda x: torch.stack([x, -x], 1).sum(1)[:, :12], 24),
        (
            lambda x: (
                x.permute(0, 2, 3, 1).reshape(x.shape[0], 8, 8, 24)[..., :12].permute(0, 3, 1, 2)
            ),
            24,
        ),
    ],
    ids=["chunk", "glu", "pixel shuffle", "channel shuffle", "stack", "channels last"],
)
def test_movement_of_every_kind_is_followed(move: Callable[[Tensor], Tensor], units: int):
    net = Net(
        lambda s, x: s.end(move(s.start(x)).mean((2, 3))), start=conv(3, 24), end=nn.Linear(12, 3)
    )
    known = found(net, 3, 8, 8)
    assert sum(g.units for g in known if "start" in g.producers) == units
