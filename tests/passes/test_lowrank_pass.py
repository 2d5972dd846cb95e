"""prune.lowrank: layers in two where that costs less."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.task import Task, ready
from netsuke.nets import save
from netsuke.nets.capture import capture
from netsuke.nets.costs import layers, totals
from netsuke.nets.graph import clone
from netsuke.nets.onnx_out import export_onnx
from netsuke.passes.prune.lowrank import LowRank
from netsuke.passes.prune.ranks import Option, cheapest, edge
from netsuke.passes.quantize.static import Static

DEVICE = Device(
    name="toy", title="toy", memory=1e9, storage=1e9, cores=1, kernel_width=8,
    formats={"fp32": 1e10, "int8": 3e10}, bandwidth=1e10, overhead=1e-6,
)  # fmt: skip


class Wide(nn.Module):
    """Wide enough for low rank to pay; its middle really has a low rank."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48)
        self.middle = nn.Conv2d(48, 48, 3, padding=1)
        self.last, self.end = nn.Conv2d(48, 64, 3, stride=2), nn.Linear(64, 5)
        with torch.no_grad():
            low = torch.randn(48, 6) @ torch.randn(6, 48 * 9) / 60
            self.middle.weight.copy_(low.view(48, 48, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.middle(F.relu(self.bn(self.stem(x)))))
        return self.end(F.relu(self.last(x)).mean((2, 3)))


@cache
def wide() -> Model:
    torch.manual_seed(0)
    return capture(Wide().eval(), torch.randn(2, 3, 12, 12))


def goal(**more: Any) -> Goal:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(160, 3, 12, 12)).astype(np.float32)
    task = Task(calibrate=x, validate=(x[:64], draw.integers(0, 5, 64)), **more.pop("task", {}))
    return Goal(data=ready(task), device=DEVICE, **more)


def left(made: Model, what: str) -> float:
    after, before = (getattr(totals(layers(m)), what) for m in (made, wide()))
    return after / before


@pytest.mark.parametrize(("cost", "what"), [("macs", "macs"), ("parameters", "weights")])
def test_as_much_leaves_as_is_asked_for_and_is_counted_right(cost: str, what: str):
    made = LowRank(ratio=0.4, cost=cost, epochs=0).apply(wide(), goal())
    step = made.lineage[-1]
    assert left(made, what) <= 0.601
    saved = float(step.summary.split(" %")[0].removeprefix("−"))
    assert saved == pytest.approx(100 * (1 - left(made, what)), abs=1.0)


def test_the_layer_that_loses_nothing_splits_first():
    made = LowRank(ratio=0.2, cost="macs", epochs=0).apply(wide(), goal())
    said = [n for n in made.lineage[-1].notes if "in two of rank" in n]
    assert [n.split(":")[0] for n in said] == ["middle"]
    x = torch.randn(8, 3, 12, 12)
    with torch.no_grad():
        given, wanted = (m.network.eval()(x) for m in (made, wide()))
    assert (given - wanted).abs().max() < 0.02 * wanted.abs().max()


@pytest.mark.parametrize("form", ["channel", "spatial"])
def test_either_form_alone(form: str):
    made = LowRank(ratio=0.3, cost="macs", form=form, epochs=0, data=False).apply(wide(), goal())
    words = {"channel": "channels first", "spatial": "columns, then rows"}[form]
    assert any(words in n for n in made.lineage[-1].notes)
    assert left(made, "macs") <= 0.701


def test_it_is_saved_loaded_exported_and_quantized(tmp_path: Path):
    made = LowRank(ratio=0.4, cost="macs", epochs=0).apply(wide(), goal())
    save.save(made, tmp_path)
    again = save.load(tmp_path)
    x = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        wanted = made.network.eval()(x)
        assert torch.equal(again.network.eval()(x), wanted)
    session = onnxruntime.InferenceSession(export_onnx(made).content)
    (given,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert np.abs(given - wanted.numpy()).max() < 1e-5
    small = Static().apply(made, goal())
    integers = [layer for layer in layers(small) if layer.weight_bits == 8]
    assert {"middle.first", "middle.second"} <= {layer.name for layer in integers}
    onnxruntime.InferenceSession(export_onnx(small).content)


def test_layers_that_the_clock_finds_no_faster_stay_whole():
    """A clock on which only the last convolution gets faster."""

    def clock(model: Model) -> float:
        names = {layer.name for layer in layers(model)}
        return 1.0 + 0.2 * ("middle.first" in names) - 0.4 * ("last.first" in names)

    plugin = LowRank(ratio=0.2, cost="seconds", epochs=0, protect=("stem",))
    made = plugin.apply(wide(), goal(clock=clock))
    names = {layer.name for layer in layers(made)}
    assert "last.first" in names
    assert "middle.first" not in names
    notes = made.lineage[-1].notes
    assert notes[0] == "60 % of the time is left by the clock, 80 % was asked for"
    assert any(n.startswith("not split so: middle: 120 % of the time") for n in notes)


def test_nothing_to_gain_is_refused():
    net = nn.Sequential(nn.Linear(6, 2), nn.ReLU(), nn.Linear(2, 3))
    x = np.zeros((8, 6), np.float32)
    task = Task(validate=(x, np.zeros(8, int)))
    model = capture(net.eval(), torch.randn(2, 6))
    reason = LowRank(cost="macs").refuse(model, Goal(data=ready(task), device=DEVICE))
    assert reason == "no layer costs fewer macs as two of lower rank"


def test_more_than_there_is_is_refused_with_the_most():
    reason = LowRank(ratio=0.95, cost="macs", protect=("middle",)).refuse(wide(), goal())
    assert reason is not None
    assert reason.startswith("ratio = 0.95 is more than low rank can save: at most ")


def test_pruned_layers_keep_their_zeros_and_stay_whole():
    sparse = replace(wide(), network=clone(wide().network))
    zeros = torch.rand(48, 48, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    with torch.no_grad():
        sparse.network.get_parameter("middle.weight")[zeros] = 0
    made = LowRank(ratio=0.1, cost="macs", epochs=0).apply(sparse, goal())
    note = next(n for n in made.lineage[-1].notes if "middle" in n and "zeros" in n)
    assert note.startswith("stays whole: middle is 50 % zeros")
    assert bool((made.network.get_parameter("middle.weight")[zeros] == 0).all())
    with torch.no_grad():
        for weight in sparse.network.parameters():
            weight[..., ::2] = 0
    assert "prune after" in str(LowRank(ratio=0.1, cost="macs").refuse(sparse, goal()))


def test_a_name_to_protect_that_is_no_layer_is_an_error():
    with pytest.raises(NetsukeError, match="no layer 'midle'; did you mean middle"):
        LowRank(protect=("midle",)).refuse(wide(), goal())


def test_only_what_is_worth_its_damage_is_taken():
    one = {
        Option("a", "channel", r, s): d for r, s, d in ((8, 1.0, 1.0), (4, 2.0, 9.0), (2, 3.0, 4.0))
    }
    assert [step.option.rank for step in edge(one)] == [8, 2]
    two = {Option("b", "channel", 8, 2.0): 1.0}
    chosen = cheapest({"a": one, "b": two}, 2.5)
    assert {layer: o.rank for layer, o in chosen.items()} == {"a": 8, "b": 8}


def test_remedies_are_half_as_much_then_more_training():
    first = LowRank(ratio=0.3, epochs=2)
    assert first.remedies() == (replace(first, ratio=0.15), replace(first, epochs=4))
