"""What a network suffers from few bits in one layer."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models import captured, example
from netsuke.core.errors import NetsukeError
from netsuke.nets.capture import capture
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizers.sensitivity import Outputs, Rounded, hessian_traces, sites


def far(mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(mine, theirs)


def kl(mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    given = F.log_softmax(theirs, 1)
    return F.kl_div(F.log_softmax(mine, 1), given, reduction="batchmean", log_target=True)


def test_sites_are_all_weights_with_their_sizes() -> None:
    found = {s.weight: s for s in sites(captured("resnet"))}
    assert len(found) == 20
    assert found["conv1.weight"].elements == 3 * 16 * 9
    assert found["conv1.weight"].macs == 3 * 16 * 9 * 32 * 32
    assert found["layer3.2.conv2.weight"].layer == "layer3.2.conv2"
    assert found["linear.weight"].macs == 640


def test_a_weight_that_two_layers_share_is_one_site_with_the_work_of_both() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(8, 8, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.one(torch.relu(self.one(x)))

    (site,) = sites(capture(Shared(), (torch.randn(2, 8),)))
    assert (site.elements, site.macs) == (64, 128)


def test_rounded_outputs_are_those_of_the_rounded_network() -> None:
    module, (x,) = example("mlp")
    rounded = Rounded(fold_batchnorm(capture(module, (x,)).network).eval())
    outputs = Outputs(rounded, [(torch.randn(8, 16),), (torch.randn(3, 16),)])
    assert outputs.divergence({}, far) == 0
    assert outputs.noise({}) == 0
    bits = {"layers.0.weight": 2, "layers.4.weight": 3}
    batch = torch.randn(8, 16)
    own = Outputs(rounded, [(batch,)])
    with torch.no_grad():
        mine, theirs = rounded.at(bits)(batch), rounded.network(batch)
    assert own.divergence(bits, far) == pytest.approx(float(far(mine, theirs)), rel=1e-5)
    sqnr = float((mine - theirs).square().sum() / theirs.square().sum())
    assert own.noise(bits) == pytest.approx(sqnr, rel=1e-5)


def test_fewer_bits_do_more_harm_and_float_does_none() -> None:
    module, (x,) = example("mlp")
    rounded = Rounded(fold_batchnorm(capture(module, (x,)).network).eval())
    outputs = Outputs(rounded, [(torch.randn(64, 16),)])
    harms = [outputs.noise({"layers.0.weight": b}) for b in (2, 4, 8, 32)]
    assert harms == sorted(harms, reverse=True)
    assert harms[-1] == 0 < harms[-2]


def test_no_samples_is_an_error() -> None:
    with pytest.raises(NetsukeError, match="no samples"):
        Outputs(Rounded(fold_batchnorm(captured("mlp").network)), [])


def test_the_estimated_trace_is_near_the_exact_one() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).eval()
    x = torch.randn(40, 5)
    network = capture(module, (x[:2],)).network
    names = ["0.weight", "2.weight"]
    found = hessian_traces(network, names, [(x[:25],), (x[25:],)], kl, probes=300)
    with torch.no_grad():
        target = module(x)
    for name in names:
        weight = module.get_parameter(name).detach()

        def loss(flat: torch.Tensor, name: str = name, shape: torch.Size = weight.shape):  # type: ignore[no-untyped-def]
            return kl(torch.func.functional_call(module, {name: flat.view(shape)}, (x,)), target)

        exact = torch.autograd.functional.hessian(loss, weight.flatten()).trace()
        assert found[name] == pytest.approx(float(exact), rel=0.1)


def test_the_trace_leaves_the_network_as_it_was() -> None:
    model = captured("mlp")
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    hessian_traces(model.network, ["layers.0.weight"], [(torch.randn(4, 16),)], kl, probes=1)
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())
    assert all(p.grad is None for p in model.network.parameters())
