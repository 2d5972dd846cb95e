"""Sparsity in a loop of the user's own."""

import pytest
import torch
from torch import nn

import netsuke
from netsuke.testing import samples
from netsuke.testing.networks import Residual


def loop(net: nn.Module, sparse, steps: int) -> list[float]:
    """Momentum and weight decay, which would bring weights back."""
    x, y = (torch.from_numpy(a) for a in samples.images(256))
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)
    seen = []
    for i in range(steps):
        rows = torch.arange(64) + i % 4 * 64
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
        sparse.step()
        seen.append(sparse.sparsity)
    return seen


def test_weights_leave_along_the_curve_and_stay_away():
    torch.manual_seed(0)
    net = Residual(16, 4)
    sparse = netsuke.sparsify(net, sparsity=0.9, steps=40)
    seen = loop(net, sparse, 60)
    assert seen == sorted(seen)
    assert seen[9] > 0.4
    assert seen[39] == seen[-1] == pytest.approx(0.9, abs=1e-3)
    x, y = (torch.from_numpy(a) for a in samples.images(256, 1))
    made = sparse.finish()
    assert made is net
    with torch.no_grad():
        assert float((made.eval()(x).argmax(1) == y).float().mean()) > 0.7


def test_what_has_not_left_leaves_at_the_end():
    net = Residual(16, 4)
    sparse = netsuke.sparsify(net, sparsity=0.9, steps=1000, protect=("first",))
    loop(net, sparse, 3)
    sparse.finish()
    assert sparse.sparsity == pytest.approx(0.9, abs=1e-3)
    assert net.first.weight.all()


def test_a_pattern_ends_as_asked():
    net = Residual(16, 4)
    sparse = netsuke.sparsify(net, pattern="2:4", steps=8)
    loop(net, sparse, 10)
    runs = net.conv1.weight.movedim(1, -1).reshape(-1, 4)
    assert ((runs != 0).sum(1) == 2).all()
    assert net.first.weight.all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sparsity": 1.5}, "not between 0 and 1"),
        ({"steps": 0}, "1 or more"),
        ({"pattern": "4:2"}, "n below m"),
        ({"protect": ("frist",)}, "did you mean first"),
        ({"sparsity": 0.999, "scope": "layer"}, "would empty first"),
    ],
)
def test_what_makes_no_sense_is_named(given, said):
    with pytest.raises(netsuke.NetsukeError, match=said):
        netsuke.sparsify(Residual(16, 4), **given)


def test_a_model_without_layers_is_named():
    with pytest.raises(netsuke.NetsukeError, match="no linear layer or convolution"):
        netsuke.sparsify(nn.ReLU())
