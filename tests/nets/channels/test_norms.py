"""Normalizations over pruned axes, recurrent layers, heads: what leaves, and what it is compared with."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import captured
from netsuke.core.model import Model
from netsuke.nets.capture import capture
from netsuke.nets.channels.groups import Group, Groups, groups, silencers
from netsuke.nets.channels.surgery import cut, mask
from netsuke.nets.graph import op, tensor_of

Forward = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """start, something in the middle, end: 6 numbers to 16 to 3."""

    def __init__(self, middle: Forward, **layers: nn.Module) -> None:
        super().__init__()
        self.start, self.end, self._middle = nn.Linear(6, 16), nn.Linear(16, 3), middle
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self._middle(self, self.start(x)))


def made(middle: Forward, **layers: nn.Module) -> Model:
    torch.manual_seed(0)
    net = Net(middle, **layers)
    for parameter in net.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return capture(net.eval(), torch.randn(2, 6))


def of(known: Groups, name: str) -> Group:
    return next(g for g in known if g.name == name)


def half(known: Groups) -> dict[int, list[int]]:
    return {g.id: list(range(0, g.units, 2)) for g in known}


def run(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return network.eval()(x)


def root_mean_square(net: Net, x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3)


def standardized(net: Net, x: Tensor) -> Tensor:
    far = x - x.mean(1, keepdim=True)
    return far / torch.sqrt(far.pow(2).mean(1, keepdim=True) + 1e-3)


NORMS: dict[str, tuple[Forward, dict[str, nn.Module]]] = {
    "layer norm": (lambda s, x: s.norm(x), {"norm": nn.LayerNorm(16)}),
    "layer norm without weights": (lambda s, x: F.layer_norm(x, (16,)), {}),
    "RMSNorm": (lambda s, x: s.norm(x), {"norm": nn.RMSNorm(16, eps=1e-3)}),
    "RMSNorm written out": (root_mean_square, {}),
    "layer norm written out": (standardized, {}),
    "unit length": (lambda s, x: F.normalize(x, dim=1), {}),
    "sum of one": (lambda s, x: x.exp() / x.exp().sum(1, keepdim=True), {}),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_normalized_width_leaves_and_statistics_are_of_what_stays(name: str):
    middle, layers = NORMS[name]
    model = made(middle, **layers)
    known = groups(model)
    assert of(known, "start").units == 16
    keep = half(known)
    x = torch.randn(5, 6)
    pruned, masked = run(cut(model, keep, known), x), run(mask(model, keep, known), x)
    torch.testing.assert_close(pruned, masked, rtol=1e-4, atol=1e-5)
    # and by hand: the same layers, made narrow before the norm
    net = Net(middle, **{k: type(v)(8, eps=v.eps) for k, v in layers.items()})  # type: ignore[call-arg]
    net.start, net.end = nn.Linear(6, 8), nn.Linear(8, 3)
    state = {n: t for n, t in model.network.state_dict().items() if n in net.state_dict()}
    net.load_state_dict({n: _every_second(t, n) for n, t in state.items()})
    if name != "layer norm without weights":  # whose width is written in the code
        torch.testing.assert_close(pruned, run(net, x), rtol=1e-4, atol=1e-5)


def _every_second(tensor: Tensor, name: str) -> Tensor:
    if name == "end.weight":
        return tensor[:, ::2]
    return tensor if name == "end.bias" else tensor[::2]


@pytest.mark.parametrize(("groups_of_norm", "units"), [(1, 16), (4, 4), (8, 8), (16, 16)])
def test_group_norm_gives_up_places_or_whole_groups(groups_of_norm: int, units: int):
    model = made(
        lambda s, x: s.norm(torch.stack((x, x.sin()), -1)).amax(-1),
        norm=nn.GroupNorm(groups_of_norm, 16),
    )
    known = groups(model)
    assert of(known, "start").units == units
    network = cut(model, half(known), known)  # asserts that it is the masked one's
    (norm,) = [n for n in network.graph.nodes if op(n) == "group_norm"]
    assert norm.args[1] == (groups_of_norm // 2 if groups_of_norm >= 8 else groups_of_norm)


@pytest.mark.parametrize(
    "middle",
    [
        lambda s, x: x.mean(1, keepdim=True).expand(-1, 16),
        lambda s, x: s.other(x) * x.mean(1, keepdim=True),
        lambda s, x: x * s.gate(x.mean(1, keepdim=True)),
        lambda s, x: torch.cat([x[:, 1:], x.mean(1, keepdim=True)], 1),
        lambda s, x: x / x.softmax(1),
    ],
    ids=["alone", "onto others", "through a layer", "beside them", "softmax"],
)
def test_a_statistic_that_goes_elsewhere_protects(middle: Forward):
    model = made(middle, other=nn.Linear(16, 16), gate=nn.Linear(1, 1))
    assert "start" not in {layer for g in groups(model) for layer in g.producers}


class Steps(nn.Module):
    """A recurrent layer between two linear ones; 6 numbers a step, whose first states may be given."""

    def __init__(self, kind: type[nn.RNNBase], ways: int, given: bool = False) -> None:
        super().__init__()
        self.start = nn.Linear(6, 12)
        self.cell = kind(12, 10, num_layers=2, batch_first=True, bidirectional=ways == 2)
        self.end, self.given = nn.Linear(10 * ways, 3), given

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.start(x))
        state = x[:, :2].repeat(1, 1, 2)[:, :, :10].transpose(0, 1).contiguous()
        made, _ = self.cell(y, state) if self.given else self.cell(y)
        return self.end(made[:, -1])


@pytest.mark.parametrize("ways", [1, 2])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_hidden_units_and_features_leave_recurrent_layers(kind: type[nn.RNNBase], ways: int):
    model = capture(Steps(kind, ways).eval(), torch.randn(2, 4, 6))
    known = groups(model)
    assert of(known, "start").units == 12
    hidden = next(g for g in known if g.units == 10)
    (rows,) = [m for m in hidden.members if m.tensor == "cell.weight_hh_l0" and m.dim == 0]
    assert len(rows.indices(3)) == {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}[kind]
    pruned = cut(model, half(known), known)
    assert tensor_of(pruned, "cell.weight_hh_l1").shape == (5 * len(rows.indices(3)), 5)


def test_first_states_that_are_given_keep_the_hidden_width():
    model = capture(Steps(nn.GRU, 1, given=True).eval(), torch.randn(2, 4, 6))
    known = groups(model)
    assert of(known, "start").units == 12
    assert "cell" in dict(known.protected)


def test_heads_get_narrower_alike_and_keep_their_scale():
    model = captured("encoder")
    known = groups(model, heads="narrower")
    inner = of(known, "layers.0.query")
    assert (inner.units, inner.producers) == (8, ("layers.0.query", "layers.0.key"))
    (query,) = [m for m in inner.members if m.tensor == "layers.0.query.weight"]
    assert query.indices(1).tolist() == [1, 9, 17, 25]
    # no weight takes in a product of queries and keys: its units are silenced where they are made
    assert {m.tensor for m in silencers(inner)} == {
        f"layers.0.{part}.{kind}" for part in ("query", "key") for kind in ("weight", "bias")
    }
    network = cut(model, {inner.id: [0, 2, 3]}, known)
    first = next(n for n in network.graph.nodes if op(n) == "scaled_dot_product_attention")
    assert first.kwargs["scale"] == pytest.approx(8**-0.5)
    again = groups(Model(network=network, example=model.example, name="narrow"))
    assert of(again, "layers.0.query").units == 4  # and then whole ones leave


class Eager(nn.Module):
    """Attention as products and a softmax."""

    def __init__(self, heads: int = 4, width: int = 32) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out, self.heads = nn.Linear(width, 3), heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).view(x.shape[0], 5, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = (q @ k.transpose(2, 3) / 8**0.5).softmax(-1)
        return self.out((scores @ v).transpose(1, 2).flatten(2)).mean(1)


@pytest.mark.parametrize(("heads", "units"), [("whole", [4]), ("narrower", [8, 8])])
def test_attention_written_out_is_pruned_too(heads: str, units: list[int]):
    model = capture(Eager().eval(), torch.randn(2, 5, 32))
    known = groups(model, heads=heads)  # type: ignore[arg-type]
    assert [g.units for g in known] == units
    keep = half(known)
    x = torch.randn(3, 5, 32)
    pruned, masked = run(cut(model, keep, known), x), run(mask(model, keep, known), x)
    torch.testing.assert_close(pruned, masked, rtol=1e-4, atol=1e-5)
    assert not np.allclose(masked, run(model.network, x), atol=1e-3)


class NonLocal(nn.Module):
    """Each place looks at all others, without heads (Wang et al., 2018)."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, n) for n in (6, 6, 10))
        self.out, self.fused = nn.Linear(10, 3), fused

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        if self.fused:
            return self.out(F.scaled_dot_product_attention(q, k, v))
        return self.out((q @ k.transpose(1, 2)).softmax(-1) @ v)


@pytest.mark.parametrize("fused", [False, True])
def test_attention_without_heads_gets_narrower(fused: bool):
    model = capture(NonLocal(fused).eval(), torch.randn(2, 5, 8))
    known = groups(model)
    assert {g.name: g.units for g in known} == {"query": 6, "value": 10}
    cut(model, half(known), known)  # asserts that it is the masked one's


@pytest.mark.parametrize(("grouped", "units"), [(8, 8), (2, 4)])
def test_transposed_convolutions_in_groups_are_pruned(grouped: int, units: int):
    class Up(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.start = nn.Conv2d(3, 8, 1)
            self.up = nn.ConvTranspose2d(8, 16, 2, 2, groups=grouped)
            self.end = nn.Conv2d(16, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.end(F.relu(self.up(F.relu(self.start(x)))))

    model = capture(Up().eval(), torch.randn(2, 3, 4, 4))
    known = groups(model)
    assert of(known, "start").units == units
    network = cut(model, half(known), known)
    (up,) = [n for n in network.graph.nodes if op(n) == "conv_transpose2d"]
    assert up.args[6] == (4 if grouped == 8 else 2)
