"""Weights fitted by least squares: exact where they can be, bounded in memory."""

import pytest
import torch
from torch import Tensor, nn

from models import captured
from netsuke.core.model import Model
from netsuke.nets import moments, refit
from netsuke.nets.capture import capture
from netsuke.nets.channels.surgery import cut
from netsuke.nets.graph import clone, set_tensor, tensor_of


class Chain(nn.Module):
    """Channel 2 of the first layer is always the sum of the first two: nothing is lost without it."""

    def __init__(self) -> None:
        super().__init__()
        self.make = nn.Conv2d(2, 3, 1, bias=False)
        self.take = nn.Conv2d(3, 4, 3, padding=1, groups=1, bias=False)
        self.norm, self.end = nn.BatchNorm2d(4), nn.Linear(4, 2)
        with torch.no_grad():
            self.make.weight[2] = self.make.weight[0] + self.make.weight[1]
            self.norm.running_mean.fill_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(torch.relu(self.norm(self.take(self.make(x)))).mean((2, 3)))


def chain() -> tuple[Model, list[tuple[Tensor]]]:
    torch.manual_seed(0)
    batches = [(torch.randn(16, 2, 6, 6),) for _ in range(3)]
    return capture(Chain().eval(), batches[0][0][:2]), batches


def test_what_the_rest_can_make_up_for_is_made_up_for():
    model, batches = chain()
    network = cut(model, {0: [0, 1]})
    (make,) = moments.weighted(model.network)["make.weight"]
    kept = {make.name: torch.tensor([0, 1])}
    fitted, layers = refit.refit(network, model.network, kept, batches)
    new = torch.randn(8, 2, 6, 6)
    with torch.no_grad():
        whole, bare, mended = (n.eval()(new) for n in (model.network, network, fitted))
    assert (bare - whole).abs().max() > 0.01
    assert (mended - whole).abs().max() < 2e-4
    assert len(layers) == 3


def test_nothing_changes_where_nothing_was_cut():
    model, batches = chain()
    fitted, _ = refit.refit(clone(model.network), model.network, {}, batches)
    for name, tensor in model.network.state_dict().items():
        assert torch.allclose(tensor, fitted.state_dict()[name], atol=1e-3), name


def test_an_offset_goes_to_the_bias_and_to_the_norm_behind():
    """What the last two layers read is off by a constant: only intercepts can take that back."""
    model, batches = chain()
    network = clone(model.network)
    for name, wrong in (("norm.running_mean", 0.2), ("end.bias", -1.0)):
        set_tensor(network, name, tensor_of(network, name).detach() + wrong)
    fitted, _ = refit.refit(network, model.network, {}, batches)
    with torch.no_grad():
        whole, mended = (n.eval()(batches[0][0]) for n in (model.network, fitted))
    assert (mended - whole).abs().max() < 0.05


def test_fewer_samples_are_used_where_values_would_not_fit(monkeypatch: pytest.MonkeyPatch):
    model = captured("resnet")
    batches = [(torch.randn(32, 3, 32, 32),)] * 4
    peak = refit._peak(model.network, (batches[0][0][:1],))
    monkeypatch.setattr(refit, "LIMIT", 2 * 40 * peak)
    used = refit._samples(model.network, model.network, batches)
    assert sum(len(x) for (x,) in used) == 40
    # the widest place: a block's input, its first convolution, BatchNorm's output, and the next
    assert 3 * 16 * 32 * 32 * 4 <= peak <= 5 * 16 * 32 * 32 * 4


def test_moments_are_those_of_the_rows_and_held_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch):
    model, batches = chain()
    layers = [nodes[0] for nodes in moments.weighted(model.network).values()]
    found = dict(moments.moments(model.network, layers, batches))
    x = torch.cat([x for (x,) in batches]).movedim(1, -1).reshape(-1, 2)
    assert torch.allclose(found[layers[0]][0], (x.T @ x / len(x)).double(), atol=1e-5)
    monkeypatch.setattr(moments, "LIMIT", 8)
    again = dict(moments.moments(model.network, layers, batches))
    assert all(torch.allclose(found[n], again[n]) for n in layers)


def test_fitted_weights_can_be_trained_and_asked():
    """Tensors made in inference mode can be neither: pruned weights could not be quantized."""
    model, batches = chain()
    fitted, _ = refit.refit(clone(model.network), model.network, {}, batches)
    assert not any(t.is_inference() for t in (*fitted.parameters(), *fitted.buffers()))
    fitted.train()(*batches[0]).sum().backward()
    assert all(torch.isfinite(p).all() for p in fitted.parameters())
