"""What networks are worth before they are trained."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from netsuke.core.errors import NetsukeError
from netsuke.core.registry import registered
from netsuke.families.vision import MobileNet
from netsuke.nets.capture import capture
from netsuke.nets.proxies.proxy import Proxy, proxy

X = torch.randn(16, 1, 16, 16, generator=torch.Generator().manual_seed(0))


class Deep(nn.Module):
    """Layers without shortcuts, which a signal hardly gets through."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(256, 256) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


def network(module: nn.Module):
    torch.manual_seed(0)
    return capture(module.eval(), X[:2]).network


def mobile(width: int):
    torch.manual_seed(0)
    return network(MobileNet(4, 1, (width, 1), ((width, 1, 2), (2 * width, 1, 2))))


@pytest.mark.parametrize("name", sorted(registered(Proxy, "netsuke.nets.proxies")))
class TestEvery:
    order: ClassVar[tuple[int, ...]] = (4, 8, 16)

    def test_wider_is_better(self, name: str):
        scores = [proxy(name).score(mobile(width), (X,)) for width in self.order]
        assert scores == sorted(scores)
        assert len(set(scores)) == len(scores)

    def test_it_leaves_the_network_and_repeats_itself(self, name: str):
        net = mobile(4)
        before = {k: v.clone() for k, v in net.state_dict().items()}
        assert proxy(name).score(net, (X,)) == proxy(name).score(net, (X,))
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_synflow_is_the_paths_through_two_layers():
    """Of a linear network with one path a weight pair: R = Σ |w2|·|w1|, and each layer's share is R."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 1, bias=False), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        net[1].weight.fill_(-0.5)
        net[2].weight.fill_(3.0)
    found = proxy("synflow").score(network(net), (X,))
    assert found == pytest.approx(torch.tensor(2 * 256 * 0.5 * 3.0).log().item(), rel=1e-6)


def test_synflow_of_a_hundred_layers_is_a_number():
    assert abs(proxy("synflow").score(network(Deep(100)), (X,))) < 1e4


def test_naswot_counts_rectifiers_that_agree():
    """Two samples, three rectifiers, one of which they share: K = [[3, 1], [1, 3]]."""

    class Three(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x)

    net = capture(Three(), torch.zeros(2, 3)).network
    x = torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, 1.0]])
    assert proxy("naswot").score(net, (x,)) == pytest.approx(torch.tensor(8.0).log().item())


def test_naswot_without_rectifiers_is_told():
    net = network(nn.Sequential(nn.Flatten(), nn.Linear(256, 4)))
    with pytest.raises(NetsukeError, match="no rectifiers"):
        proxy("naswot").score(net, (X,))


def test_a_name_that_is_none_is_told():
    with pytest.raises(NetsukeError, match="did you mean synflow"):
        proxy("synflo")
