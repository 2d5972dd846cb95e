"""Mixed precision as a pass."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.core.task import ready
from netsuke.nets.costs import layers
from netsuke.nets.graph import clone, set_tensor, tensor_of
from netsuke.nets.quantizers.place import is_quantized
from netsuke.nets.quantizers.quantizer import quantizers
from netsuke.passes.quantize.mixed import Mixed
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.testing import samples
from netsuke.testing.passes import PassConformance
from netsuke.workbench import simulator

QUICK = {"rounding": "nearest", "curve": 0, "refine": 0, "probes": 64, "samples": 64}


class TestMixed(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return Mixed(samples=64, probes=32, curve=1, refine=1)


def bits(carved: Model) -> dict[str, int]:
    return {row["weight"]: row["bits"] for row in carved.lineage[-1].table["layers"]}


def mean(carved: Model) -> float:
    rows = carved.lineage[-1].table["layers"]
    return sum(r["elements"] * r["bits"] for r in rows) / sum(r["elements"] for r in rows)


def ternary(model: Model, name: str) -> Model:
    """The model with one weight of three values a channel: 2 bits hold it without an error."""
    network = clone(model.network)
    weight = tensor_of(network, name).detach()  # type: ignore[union-attr]
    size = weight.abs().mean((1, 2, 3), keepdim=True)
    set_tensor(network, name, weight.sign() * (weight.abs() > size) * size)
    return replace(model, network=network)


def quiet(model: Model, name: str) -> Model:
    """The model with one weight a thousandth as large: what is done to it hardly shows."""
    network = clone(model.network)
    set_tensor(network, name, tensor_of(network, name).detach() / 1000)  # type: ignore[union-attr]
    return replace(model, network=network)


@pytest.mark.parametrize("method", ["divergence", "sqnr", "hessian", "metric"])
def test_the_average_of_bits_is_within_the_limit(model: Model, goal: Goal, method: str) -> None:
    carved = Mixed(limit=3.5, sensitivity=method, **QUICK).apply(model, goal)  # type: ignore[arg-type]
    assert 2.5 < mean(carved) <= 3.5
    # The metric of so few samples hardly tells one width from another.
    assert len(set(bits(carved).values())) > 1 or method == "metric"


def test_layers_have_the_bits_the_table_says(model: Model, goal: Goal) -> None:
    carved = Mixed(limit=4, **QUICK).apply(model, goal)  # type: ignore[arg-type]
    real = {f"{x.name}.weight": x.weight_bits for x in layers(carved)}
    assert all(real[name] == b for name, b in bits(carved).items())


def test_a_layer_that_suffers_nothing_gives_its_bits_to_the_others(
    model: Model, goal: Goal
) -> None:
    settings, name = Mixed(limit=4, **QUICK), "conv1.weight"  # type: ignore[arg-type]
    before, after = (bits(settings.apply(m, goal)) for m in (model, ternary(model, name)))
    assert before[name] > after[name] == 2
    assert sum(after[n] for n in after if n != name) > sum(before[n] for n in before if n != name)


def test_sensitive_layers_stay_high(model: Model, goal: Goal) -> None:
    carved = Mixed(limit=4, **QUICK).apply(quiet(model, "conv1.weight"), goal)  # type: ignore[arg-type]
    assert bits(carved)["conv1.weight"] == min(bits(carved).values())
    worst = max(carved.lineage[-1].table["layers"], key=lambda r: r["harms"]["2"] / r["elements"])
    assert worst["bits"] == max(bits(carved).values())


def test_bytes_and_bit_operations_can_be_limited(model: Model, goal: Goal) -> None:
    by_bytes = Mixed(cost="bytes", limit=1500, **QUICK).apply(model, goal)  # type: ignore[arg-type]
    rows = by_bytes.lineage[-1].table["layers"]
    assert 1400 < sum(r["elements"] * r["bits"] / 8 for r in rows) <= 1500
    every = sum(r["macs"] for r in rows) * 8 * 5 / 1e9
    by_work = Mixed(cost="operations", limit=every, **QUICK).apply(model, goal)  # type: ignore[arg-type]
    rows = by_work.lineage[-1].table["layers"]
    assert 0.9 * every < sum(r["macs"] * r["bits"] * 8 for r in rows) / 1e9 <= every


def test_by_seconds_the_layer_that_suffers_most_stays_float(
    model: Model, goal: Goal, tmp_path: Path
) -> None:
    """A clock by which each weight in float costs a second more than the second of all in integers."""

    def clock(tried: Model) -> float:
        weights = [q for q in quantizers(tried.network) if q.constant and q.limits[1] == 127]
        return 1.0 + (4 - len(weights))

    timed = replace(goal, clock=clock)
    carved = Mixed(cost="seconds", limit=2.5, **QUICK).apply(model, timed)  # type: ignore[arg-type]
    harms = {r["weight"]: r["harms"]["8"] for r in carved.lineage[-1].table["layers"]}
    assert [n for n, b in bits(carved).items() if b == 32] == [max(harms, key=harms.__getitem__)]
    artifact = OnnxRuntime().export(carved, goal.device, tmp_path / "m.onnx")
    x = samples.images(8)[0]
    (given,), (expected,) = OnnxRuntime().open(artifact, 1).run((x,)), simulator(carved)((x,))
    assert np.abs(given - expected).max() < 1e-4
    with pytest.raises(NetsukeError, match="cannot be met; with every layer at 8 bits"):
        Mixed(cost="seconds", limit=0.5, **QUICK).apply(model, timed)  # type: ignore[arg-type]


def test_sharing_out_anew_never_does_more_harm(model: Model, goal: Goal) -> None:
    once = Mixed(limit=2.6, **QUICK)  # type: ignore[arg-type]
    again = replace(once, refine=3)
    figures = [
        float(s.apply(model, goal).lineage[-1].notes[0].split("together ")[1].split(";")[0])
        for s in (once, again)
    ]
    assert figures[1] <= figures[0]


def test_the_table_has_the_curve(model: Model, goal: Goal) -> None:
    settings = replace(Mixed(limit=4, **QUICK), curve=3, lowest=2, highest=6)  # type: ignore[arg-type]
    table = settings.apply(model, goal).lineage[-1].table
    mixed = [p for p in table["curve"] if not p["uniform"]]
    uniform = [p for p in table["curve"] if p["uniform"]]
    assert [p["bits"] for p in uniform] == [2, 3, 4, 5, 6]
    assert len(mixed) == 3
    assert all(0 <= p["quality"] <= 1 for p in table["curve"])
    assert uniform[-1]["bytes"] == sum(r["elements"] for r in table["layers"]) * 6 / 8


def test_it_refuses_what_it_cannot_help(model: Model, goal: Goal) -> None:
    carved = Mixed(limit=8, **QUICK).apply(model, goal)  # type: ignore[arg-type]
    assert is_quantized(carved.network)
    assert Mixed().refuse(carved, goal) == "the model is quantized already"
    assert "needs a clock" in str(Mixed(cost="seconds").refuse(model, replace(goal, clock=None)))


def test_broken_calibration_data_is_an_error(model: Model, goal: Goal) -> None:
    x = samples.images(64)[0].copy()
    x[3] = np.nan
    data = ready(replace(samples.task(), calibrate=x))
    with pytest.raises(NetsukeError, match="calibrate: NaN or infinite"):
        Mixed(**QUICK).apply(model, replace(goal, data=data))  # type: ignore[arg-type]
    data = ready(replace(samples.task(), calibrate=np.zeros((8, 1, 9, 9), np.float32)))
    with pytest.raises(NetsukeError, match=r"calibrate: input 0 has shape \(1, 9, 9\)"):
        Mixed(**QUICK).apply(model, replace(goal, data=data))  # type: ignore[arg-type]


def test_a_weight_of_zeros_gets_the_fewest_bits(model: Model, goal: Goal) -> None:
    network = clone(model.network)
    set_tensor(network, "conv1.weight", torch.zeros_like(tensor_of(network, "conv1.weight")))  # type: ignore[arg-type]
    carved = Mixed(limit=4, **QUICK).apply(replace(model, network=network), goal)  # type: ignore[arg-type]
    assert bits(carved)["conv1.weight"] == 2


def test_limits_that_make_no_sense(model: Model, goal: Goal) -> None:
    with pytest.raises(NetsukeError, match="lowest 5 is above highest 4"):
        Mixed(lowest=5, highest=4)
    with pytest.raises(NetsukeError, match="limit of 1.5 cannot be met"):
        Mixed(limit=1.5, **QUICK).apply(model, goal)  # type: ignore[arg-type]
