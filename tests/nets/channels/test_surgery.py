"""Cutting: pruned equals masked, on every network and in the runtime."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import NAMES, captured
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.nets.capture import capture
from netsuke.nets.channels.branches import branches, drop, silence
from netsuke.nets.channels.groups import Groups, groups
from netsuke.nets.channels.surgery import cut, mask
from netsuke.nets.graph import inference, tensor_of
from netsuke.nets.onnx_out import export_onnx


def some(known: Groups, ratio: float) -> dict[int, list[int]]:
    """Units that stay, drawn at random."""
    draw = np.random.default_rng(0)
    return {
        g.id: sorted(draw.choice(g.units, max(1, round(g.units * (1 - ratio))), replace=False).tolist())
        for g in known
    }  # fmt: skip


def outputs(network: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    with torch.no_grad():
        return network.eval()(*inputs)


def relative(given: Tensor, wanted: Tensor) -> float:
    return ((given - wanted).abs().max() / wanted.abs().max()).item()


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def others(model: Model) -> tuple[Tensor, ...]:
    """Inputs the cut was not checked on, of another batch size."""
    (example,) = model.example
    draw = torch.Generator().manual_seed(7)
    if example.is_floating_point():
        return (torch.randn(5, *example.shape[1:], generator=draw),)
    return (torch.randint(0, int(example.max()) + 1, (5, *example.shape[1:]), generator=draw),)


@pytest.mark.parametrize("ratio", [0.3, 0.7])
@pytest.mark.parametrize("name", NAMES)
def test_pruned_equals_masked(name: str, ratio: float):
    model = captured(name)
    known = groups(model)
    keep = some(known, ratio)
    pruned, masked = cut(model, keep, known), mask(model, keep, known)
    assert count(pruned) < count(model.network) == count(masked)
    inputs = others(model)
    assert relative(outputs(pruned, inputs), outputs(masked, inputs)) <= 1e-4
    assert relative(outputs(masked, inputs), outputs(model.network, inputs)) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_pruned_network_runs_in_onnxruntime(name: str):
    model = captured(name)
    small = replace(model, network=cut(model, some(groups(model), 0.5)))
    session = onnxruntime.InferenceSession(export_onnx(small).content)
    (inputs,) = others(model)
    wanted = outputs(small.network, (inputs[:1],))
    (given,) = session.run(None, {session.get_inputs()[0].name: inputs[:1].numpy()})
    assert relative(torch.from_numpy(given), wanted) < 1e-5


def test_torch_exports_a_pruned_network_too(tmp_path: Path):
    model = captured("shuffle")
    pruned, file = cut(model, some(groups(model), 0.5)), tmp_path / "pruned.onnx"
    torch.onnx.export(
        inference(pruned), model.example, file, dynamo=True, verbose=False, external_data=False
    )
    session = onnxruntime.InferenceSession(file)
    (given,) = session.run(None, {session.get_inputs()[0].name: model.example[0].numpy()})
    assert relative(torch.from_numpy(given), outputs(pruned, model.example)) < 1e-5


def test_a_pruned_network_trains_and_can_be_cut_again():
    model = captured("resnet")
    network = cut(model, some(groups(model), 0.5)).train()
    network(torch.randn(4, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    smaller = replace(model, network=network)
    assert count(cut(smaller, some(groups(smaller), 0.5))) < count(network)


def test_the_model_is_left_as_it_was():
    model = captured("mobilenet")
    before = {k: v.clone() for k, v in model.network.state_dict().items()}
    cut(model, some(groups(model), 0.5))
    after = model.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_channels_padded_on_by_a_shortcut_may_all_leave():
    model = captured("resnet")
    known = groups(model)
    (added,) = [g for g in known if g.name == "layer2.0.conv2"]
    network = cut(model, {added.id: []}, known)
    assert tensor_of(network, "layer2.0.conv2.weight").shape[0] == 16


def test_a_layer_without_channels_is_refused_by_name():
    model = captured("mlp")
    with pytest.raises(NetsukeError, match=r"layers\.0\.weight.*without channels"):
        cut(model, {0: []})


def test_a_wrong_cut_is_found_and_its_layer_named():
    """As a rule with a mistake would make it: the consumer loses other channels than the producer."""
    model = captured("mlp")
    known = groups(model)
    group = known.groups[0]
    twisted = tuple(
        replace(m, unit=m.unit[::-1].copy()) if m.role == "consumer" else m for m in group.members
    )
    wrong = replace(known, groups=(replace(group, members=twisted), *known.groups[1:]))
    with pytest.raises(NetsukeError, match=r"layers\.4 .*does not compute"):
        cut(model, {0: list(range(8))}, wrong)


class Moves(nn.Module):
    def __init__(self, move: Callable[[Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.start, self.end, self.move = nn.Conv2d(3, 24, 3), nn.Linear(width, 4), move

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.move(self.start(x)).flatten(2).mean(2))


@pytest.mark.parametrize(
    ("move", "width"),
    [
        (lambda x: torch.cat(x.chunk(3, 1)[::-1], 1), 24),
        (lambda x: torch.cat(x.split([4, 20], 1)[:1], 1), 4),
        (lambda x: x[:, 2:-3], 19),
        (lambda x: x.narrow(1, 5, 10), 10),
        (lambda x: F.pad(x, (1, 1, 0, 0, 3, 2)), 29),
        (lambda x: F.pad(x, (0, 0, 0, 0, -3, 2)), 23),
        (lambda x: torch.cat([x, x.new_zeros(x.shape[0], 4, 6, 6)], 1), 28),
        (lambda x: x.view(x.shape[0], 4, 6, 36).transpose(1, 2).reshape(x.shape[0], 24, 36), 24),
        (lambda x: x.unflatten(1, (6, 4)).flip(2).flatten(1, 2), 24),
        (lambda x: x.unsqueeze(2).expand(-1, -1, 2, -1, -1).flatten(1, 2), 48),
        (lambda x: F.glu(x, 1), 12),
        (lambda x: x.permute(0, 2, 3, 1).reshape(x.shape[0], 36, 24).transpose(1, 2), 24),
        (lambda x: F.prelu(F.interpolate(x, scale_factor=2), torch.full((24,), 0.1)), 24),
    ],
)
def test_constants_of_the_forward_are_rewritten(move: Callable[[Tensor], Tensor], width: int):
    model = capture(Moves(move, width).eval(), torch.randn(2, 3, 8, 8))
    known = groups(model)
    assert len(known) > 0
    keep = some(known, 0.5)
    inputs = others(model)
    pruned = cut(model, keep, known)
    assert count(pruned) < count(model.network)
    assert relative(outputs(pruned, inputs), outputs(mask(model, keep, known), inputs)) <= 1e-4


def test_branches_of_a_residual_network_are_found():
    found = branches(captured("resnet"))
    assert [b.name for b in found] == [f"layer{i}.{j}" for i in (1, 2, 3) for j in range(3)]
    assert found[0].layers == (
        "layer1.0.conv1", "layer1.0.bn1", "layer1.0.conv2", "layer1.0.bn2",
    )  # fmt: skip
    assert branches(captured("densenet")) == ()


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "shuffle", "encoder"])
def test_dropped_equals_silenced(name: str):
    model = captured(name)
    leaving = branches(model)[::2]
    dropped, inputs = drop(model, leaving), others(model)
    assert count(dropped) < count(model.network)
    assert relative(outputs(dropped, inputs), outputs(silence(model, leaving), inputs)) <= 1e-4


def test_a_dropped_branch_leaves_nothing_behind():
    model = captured("resnet")
    network = drop(model, branches(model))
    assert sorted(dict(network.named_parameters())) == [
        "bn1.bias", "bn1.weight", "conv1.weight", "linear.bias", "linear.weight",
    ]  # fmt: skip
    assert sum("relu" in str(n.target) for n in network.graph.nodes) == 1
