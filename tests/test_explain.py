"""Why a run lost quality, told on real runs."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from netsuke import Budget, store
from netsuke.core.observer import Observer
from netsuke.core.recipe import make_pass
from netsuke.explain import FILE, explain, keep
from netsuke.intake import take_goal
from netsuke.nets.graph import clone, set_tensor, tensor_of
from netsuke.nets.save import load, save
from netsuke.workload import read_workload

TINY = Path(__file__).parent / "workload_tiny.py"


@pytest.fixture
def fitted(netsuke: Callable, tmp_path: Path) -> Path:
    """A run of the tiny workload: INT8 from two calibration samples."""
    recipe = '[[pass]]\nuse = "quantize.static"\nestimator = "minmax"\nsamples = 2\n'
    (tmp_path / "int8.toml").write_text(recipe, encoding="utf8")
    (tmp_path / "tiny.py").write_text(TINY.read_text(encoding="utf8"), encoding="utf8")
    said = netsuke("fit", "tiny.py", "--recipe", "int8.toml", "--drop", "50pt", "--json")
    assert said.code == 0, said
    return Path(json.loads(said.out)["folder"]).resolve()


def test_a_run_explains_its_layers_in_the_terminal_as_json_and_in_its_report(
    fitted: Path, netsuke: Callable
) -> None:
    said = netsuke("explain", fitted)
    assert said.code == 0, said
    for name in ("conv1", "conv2", "linear", "share of harm"):
        assert name in said.out
    found = json.loads(netsuke("explain", fitted, "--try", "--json").out)
    assert sum(row["share"] for row in found["layers"]) == pytest.approx(1)
    shares = [row["share"] for row in found["layers"]]
    assert shares == sorted(shares, reverse=True)
    assert found["quality"]["samples"] == 128
    assert json.loads((fitted / FILE).read_text(encoding="utf8")) == found
    page = (fitted / "report.html").read_text(encoding="utf8")
    assert "What quantization did" in page
    assert found["layers"][0]["name"] in page
    assert "What quantization did" in (fitted / "report.md").read_text(encoding="utf8")


def test_a_broken_layer_is_found_in_a_run_and_its_remedy_measured(fitted: Path) -> None:
    """One channel of a layer is a million times the others, taken back by the next layer."""
    source, quantized = load(fitted / "network" / "float"), load(fitted / "network")
    network = clone(source.network)
    for name, factor in (("bn1.weight", 1e6), ("bn1.bias", 1e6)):
        value = tensor_of(network, name).detach().clone()  # type: ignore[union-attr]
        value[3] *= factor
        set_tensor(network, name, value)
    weight = tensor_of(network, "conv2.weight").detach().clone()  # type: ignore[union-attr]
    weight[:, 3] /= 1e6
    set_tensor(network, "conv2.weight", weight)
    task = read_workload(TINY).task
    run = store.open_run(fitted)
    goal = take_goal(task, "pi4", Budget(), 0, Observer())
    broken = replace(source, network=network)
    step = quantized.lineage[-1]
    collapsed = make_pass(step.name, {**step.settings, "samples": 64}).apply(broken, goal)
    keep(fitted, collapsed, broken)
    found = explain(run, task, tries=True)
    assert found["quality"]["float"] - found["quality"]["quantized"] > 0.2
    outlier = next(f for f in found["findings"] if f["cause"] == "outlier channel")
    assert outlier["layer"] == "conv1"
    assert "channel 3 " in outlier["says"]
    assert any(line["recovered"] > 0.1 for line in found["relief"])


def test_a_run_that_quantized_nothing_says_so(fitted: Path, netsuke: Callable) -> None:
    shutil.rmtree(fitted / "network")
    record = json.loads((fitted / "report.json").read_text(encoding="utf8"))
    said = netsuke("explain", fitted)
    assert said.code == 0
    assert "does not hold its quantized network" in said.out
    for step in record["steps"]:
        step["final"] = False
    run = store.Run(fitted, record)
    assert explain(run, read_workload(TINY).task)["says"].startswith("nothing to explain")


def test_networks_that_are_float_are_not_kept(fitted: Path, tmp_path: Path) -> None:
    source = load(fitted / "network" / "float")
    keep(tmp_path / "other", source, source)
    assert not (tmp_path / "other").exists()
    save(source, tmp_path / "other")
    x = torch.zeros(2, 1, 16, 16)
    with torch.no_grad():
        same = load(tmp_path / "other").network.eval()(x)
        assert torch.equal(same, source.network.eval()(x))
