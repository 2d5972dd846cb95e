"""Quantization-aware training in a loop of the user's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import netsuke
from models import MLP, lively
from netsuke.devices import device
from netsuke.nets.quantizers.quantizer import quantizers
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.testing import samples


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2),
    )  # fmt: skip


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """The class says which half of the picture is brighter."""
    x = torch.randn(256, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return x, (x[..., :4].mean((1, 2, 3)) > x[..., 4:].mean((1, 2, 3))).long()


def test_a_plain_loop_trains_it_and_what_is_exported_agrees(tmp_path: Path):
    x, y = data()
    prepared = netsuke.prepare(small(), x, weights=4, activations=4)
    optimizer = torch.optim.Adam(prepared.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(prepared(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]

    prepared.eval()
    with torch.no_grad():
        trained = prepared(x).numpy()
    model = netsuke.convert(prepared)
    with torch.no_grad():
        deployed = model.network.eval()(x).numpy()
    artifact = OnnxRuntime().export(model, device("pi4"), tmp_path / "m.onnx")
    (ran,) = OnnxRuntime().open(artifact).run((x.numpy(),))
    # Biases are rounded to the grid of the sums they join, which 4-bit steps make coarse.
    assert np.abs(deployed - trained).mean() < 0.01 * np.abs(trained).max()
    assert (ran.argmax(1) == trained.argmax(1)).mean() >= 0.99
    assert (ran.argmax(1) == deployed.argmax(1)).mean() >= 0.999
    assert np.quantile(np.abs(ran - deployed), 0.9) < 1e-4 * np.abs(deployed).max()


def test_bits_are_where_they_were_asked_for():
    prepared = netsuke.prepare(lively(MLP()), torch.randn(64, 16), weights=4, activations=5, edge=6)
    found = quantizers(netsuke.convert(prepared).network)
    bits = {q.key: q.bits for q in found if q.limits[1] < 2**15}
    weights = [b for key, b in bits.items() if key.endswith("_weight")]
    values = [b for key, b in bits.items() if not key.endswith("_weight")]
    assert weights == [6, 4, 6]
    assert values == [6, 5, 6]


def test_steps_are_learned_until_they_are_frozen():
    x, y = data()
    prepared = netsuke.prepare(small(), x[:64])
    steps = [p for name, p in prepared.named_parameters() if name.endswith("scale")]
    F.cross_entropy(prepared(x), y).backward()
    assert all(bool((p.grad != 0).any()) for p in steps)
    prepared.zero_grad()
    prepared.freeze()
    F.cross_entropy(prepared(x), y).backward()
    assert all(p.grad is None for p in steps)


def test_a_task_will_do_and_the_result_goes_through_the_walk(tmp_path: Path):
    model = netsuke.convert(netsuke.prepare(samples.network(), samples.task(), weights=4))
    assert model.lineage[-1].name == "prepare"
    assert {layer.weight_bits for layer in netsuke.inspect(model) if layer.weights} <= {4, 8}


def test_bad_input():
    with pytest.raises(netsuke.NetsukeError, match="was not made by netsuke.prepare"):
        netsuke.convert(nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(netsuke.NetsukeError, match="9 bits"):
        netsuke.prepare(MLP(), torch.randn(8, 16), weights=9)
    with pytest.raises(netsuke.NetsukeError, match="NaN or infinite"):
        netsuke.prepare(MLP(), torch.full((8, 16), torch.nan))


def test_what_was_pruned_stays_zero_in_a_loop_of_the_users_own():
    x, y = data()
    net = small()
    with torch.no_grad():
        net[3].weight[torch.rand_like(net[3].weight) < 0.7] = 0
    prepared = netsuke.prepare(net, x, weights=4, activations=4)
    weight = prepared.network.get_parameter("3.weight")
    before = weight.detach().clone()
    optimizer = torch.optim.Adam(prepared.parameters(), lr=1e-2, weight_decay=1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(prepared(x), y).backward()
        optimizer.step()
    assert torch.equal(weight == 0, before == 0)
    assert not torch.equal(weight, before)
