"""Cuts made cheap to cross: where, how small, and that the parts then send that little."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models import ResNet

import netsuke
from netsuke import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.recipe import Recipe, make_pass
from netsuke.core.task import Task, ready
from netsuke.devices import device
from netsuke.flow import Options
from netsuke.nets import onnx_out
from netsuke.nets.capture import capture
from netsuke.runtimes.onnxruntime import OnnxRuntime

X = np.random.default_rng(0).standard_normal((16, 3, 32, 32)).astype(np.float32)
RUNTIME = OnnxRuntime()


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return capture(ResNet(2).eval(), (torch.from_numpy(X[:2]),), "resnet")


@pytest.fixture
def goal() -> Goal:
    data = ready(Task(calibrate=X, validate=(X, np.arange(16) % 10)))
    return Goal(data=data, device=device("pi4"))


def smallest(model: Model, folder: Path) -> tuple[int, int]:
    """(bytes at the cheapest cut of what is exported, all of them integers?)."""
    artifact = RUNTIME.export(model, device("pi4"), folder / "m.onnx")
    inner = [c for c in RUNTIME.cuts(artifact) if c.layer != "the input"][:-1]
    cheapest = min(inner, key=lambda cut: cut.size)
    parts = RUNTIME.parts(artifact, [cheapest], folder / "parts")
    first = RUNTIME.open(parts[0].artifact).run((X,))
    second = RUNTIME.open(parts[1].artifact).run(first)[0]
    assert np.allclose(second, RUNTIME.open(artifact).run((X,))[0], rtol=1e-4, atol=1e-5)
    return cheapest.size, {t.dtype for t in cheapest.tensors} <= {"uint8", "int8"}


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_what_crosses_is_a_byte_a_value(
    model: Model, goal: Goal, parts: int, tmp_path: Path
) -> None:
    made = make_pass("shard.pipeline", {"parts": parts}).apply(model, goal)
    step = made.lineage[-1]
    assert step.summary.startswith(f"{parts} parts, cut behind ")
    artifact = RUNTIME.export(made, device("pi4"), tmp_path / "m.onnx")
    coded = [c for c in RUNTIME.cuts(artifact) if {t.dtype for t in c.tensors} <= {"uint8", "int8"}]
    assert len(coded) == parts - 1
    with torch.inference_mode():
        before, after = (m.network.eval()(torch.from_numpy(X)) for m in (model, made))
    assert 0 < float((before - after).abs().max()) < 0.1 * float(before.std()) + 0.05


def test_two_parts_share_the_work(model: Model, goal: Goal) -> None:
    from netsuke.nets.cuts import cuts

    made = make_pass("shard.pipeline", {"rate": 1e12}).apply(model, goal)
    behind = made.lineage[-1].summary.split("behind ")[1].split(":")[0]
    (share,) = {cut.share for cut in cuts(model) if cut.layer == behind}
    assert 0.35 < share < 0.65


def test_fewer_channels_cross_and_all_of_them_lose_nothing(
    model: Model, goal: Goal, tmp_path: Path
) -> None:
    with torch.inference_mode():
        before = model.network.eval()(torch.from_numpy(X))
        apart = {}
        for narrow in (0.99, 0.5, 0.1):
            settings = {"narrow": narrow, "crossing": "float", "epochs": 0}
            made = make_pass("shard.pipeline", settings).apply(model, goal)
            apart[narrow] = float((made.network.eval()(torch.from_numpy(X)) - before).abs().max())
    assert apart[0.99] < 1e-3 < apart[0.5] < apart[0.1]
    quarter = make_pass("shard.pipeline", {"narrow": 0.25, "epochs": 0}).apply(model, goal)
    whole = make_pass("shard.pipeline", {}).apply(model, goal)
    small, large = smallest(quarter, tmp_path / "a"), smallest(whole, tmp_path / "b")
    assert small[1]
    assert small[0] <= large[0] / 2
    assert "of the variance" in quarter.lineage[-1].notes[0]


@pytest.mark.parametrize("writer", ["tables", "torch"])
def test_two_values_cross_in_a_byte(
    model: Model, goal: Goal, tmp_path: Path, writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if writer == "torch":
        monkeypatch.setattr(onnx_out, "translate", onnx_out.translate_all)
    made = make_pass("shard.pipeline", {"crossing": "int4", "epochs": 0}).apply(model, goal)
    bytewise = make_pass("shard.pipeline", {}).apply(model, goal)
    packed, whole = smallest(made, tmp_path / "a"), smallest(bytewise, tmp_path / "b")
    assert packed == (whole[0] / 2, True)
    with torch.inference_mode():
        here = made.network.eval()(torch.from_numpy(X)).numpy()
        before = model.network.eval()(torch.from_numpy(X)).numpy()
    there = RUNTIME.open(RUNTIME.adopt(tmp_path / "a" / "m.onnx")).run((X,))[0]
    assert np.allclose(here, there, rtol=1e-3, atol=1e-3 * before.std())
    assert 0 < abs(here - before).max() < before.std()


def test_four_bits_are_trained_with(model: Model) -> None:
    """What crosses in four bits loses less after training through the quantizer than before."""
    x = np.concatenate([X, X + 0.1])
    labels = model.network.eval()(torch.from_numpy(x)).argmax(1).numpy()
    goal = Goal(data=ready(Task(train=(x, labels), calibrate=x, validate=(x, labels))), device=device("pi4"))  # fmt: skip
    apart = {}
    for epochs in (0, 8):
        settings = {"crossing": "int4", "narrow": 0.5, "epochs": epochs, "lr": 0.005, "batch": 8}
        made = make_pass("shard.pipeline", settings).apply(model, goal)
        with torch.inference_mode():
            both = [m.network.eval()(torch.from_numpy(x)) for m in (model, made)]
        apart[epochs] = float((both[0] - both[1]).pow(2).mean())
    assert apart[8] < apart[0]


def test_where_it_cannot_help_it_says_so(model: Model, goal: Goal) -> None:
    integers = make_pass("quantize.static", {}).apply(model, goal)
    wanted = make_pass("shard.pipeline", {})
    assert "integers already" in (wanted.refuse(integers, goal) or "")
    assert wanted.refuse(model, goal) is None
    assert "floats cross any cut" in (
        make_pass("shard.pipeline", {"crossing": "float"}).refuse(model, goal) or ""
    )
    assert "can be cut in" in (make_pass("shard.pipeline", {"parts": 16}).refuse(model, goal) or "")


def test_it_is_cut_where_it_is_told(model: Model, goal: Goal) -> None:
    from netsuke.nets.cuts import cuts

    places = [cut.layer for cut in cuts(model) if cut.channels is not None]
    wanted = {"parts": 3, "behind": (places[-2], places[0])}
    made = make_pass("shard.pipeline", wanted).apply(model, goal)
    assert f"cut behind {places[0]}, {places[-2]}:" in made.lineage[-1].summary
    with pytest.raises(NetsukeError, match="behind: no cut behind 'layer9'; did you mean layer"):
        make_pass("shard.pipeline", {"behind": ("layer9",)}).apply(model, goal)
    with pytest.raises(NetsukeError, match="behind names 1 places and parts = 3 has 2 cuts"):
        make_pass("shard.pipeline", {"parts": 3, "behind": (places[0],)})


def test_a_remedy_sends_more(model: Model) -> None:
    wanted = make_pass("shard.pipeline", {"narrow": 0.25})
    assert [p.settings()["narrow"] for p in wanted.remedies()] == [0.5, 0.25]
    assert wanted.remedies()[-1].settings()["crossing"] == "float"
    packed = make_pass("shard.pipeline", {"crossing": "int4"})
    assert [p.settings()["crossing"] for p in packed.remedies()] == ["int8"]
    assert make_pass("shard.pipeline", {}).remedies() == ()


def test_a_fit_keeps_it_though_it_is_no_smaller_and_no_faster(model: Model, tmp_path: Path) -> None:
    task = Task(calibrate=X, validate=(X, np.arange(16) % 10), test=(X, np.arange(16) % 10))
    run = netsuke.fit(
        model.network,
        task,
        budget=netsuke.Budget(drop="100 pt"),
        recipe=Recipe(make_pass("shard.pipeline", {})),
        options=Options(out=tmp_path / "run"),
    )
    (step,) = run.record["steps"]
    assert step["outcome"] == "kept", step["reason"]
    coded = [c for c in RUNTIME.cuts(RUNTIME.adopt(run.folder / "model.onnx"))
             if {t.dtype for t in c.tensors} <= {"uint8", "int8"}]  # fmt: skip
    assert len(coded) == 1
