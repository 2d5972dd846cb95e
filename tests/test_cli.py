"""The verbs on a real run: what they print, write, and exit with."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from netsuke import store

TINY = Path(__file__).parent / "workload_tiny.py"
INT8 = '[[pass]]\nuse = "quantize.static"\nsamples = 64\n'


@pytest.fixture
def fitted(netsuke: Callable, tmp_path: Path) -> Path:
    """A finished run of the tiny workload, INT8 only, in ``runs/goal-1``."""
    (tmp_path / "int8.toml").write_text(INT8, encoding="utf8")
    (tmp_path / "tiny.py").write_text(TINY.read_text(encoding="utf8"), encoding="utf8")
    (tmp_path / "goal.toml").write_text(
        'workload = "tiny.py"\nrecipe = "int8.toml"\n[budget]\nsize = "10 KB"\ndrop = "3 pt"\n',
        encoding="utf8",
    )
    said = netsuke("fit", "goal.toml")
    assert said.code == 0, said
    assert "baseline" in said.out
    assert "smaller" in said.out.splitlines()[-2]
    return tmp_path / "runs" / "goal-1"


def test_a_run_can_be_judged_reported_measured_listed_and_replayed(
    fitted: Path, netsuke: Callable
) -> None:
    assert netsuke("judge", fitted).code == 0
    tighter = netsuke("judge", fitted, "--size", "1KB", "--json")
    assert tighter.code == 1
    assert json.loads(tighter.out)["outcome"] == "fail"
    unknown = netsuke("judge", fitted, "--energy", "1mJ")
    assert unknown.code == 3
    assert "unknown" in unknown.out

    (fitted / "report.html").unlink()
    assert netsuke("report", fitted).code == 0
    assert (fitted / "report.html").stat().st_size > 10_000
    assert netsuke("report", fitted, "--markdown").out.startswith("#")
    assert json.loads(netsuke("report", fitted, "--json").out)["format"] == 1

    evidence = json.loads(netsuke("measure", fitted, "--workload", "tiny.py", "--json").out)
    size = next(e for e in evidence if e["what"] == "size")
    assert size["value"] == (fitted / "model.onnx").stat().st_size
    assert {"quality", "drop", "speedup", "memory"} <= {e["what"] for e in evidence}

    parity = json.loads(netsuke("measure", fitted, "--layers", "--json").out)
    assert {"conv1", "conv2", "output"} <= {layer["name"] for layer in parity}
    assert min(layer["agreement"] for layer in parity) > 0.99

    rows = json.loads(netsuke("list", "--json").out)
    assert [(r["folder"], r["verdict"]) for r in rows] == [("runs/goal-1", "pass")]

    again = netsuke("fit", "--replay", fitted, "--json")
    assert again.code == 0, again
    assert (
        json.loads(again.out)["final"]["artifact"]["sha256"] == store.hashes(fitted)["model.onnx"]
    )


def test_inspect_on_a_device_says_what_bounds_what_wins_and_what_is_short(
    netsuke: Callable,
) -> None:
    shown = netsuke("inspect", TINY, "--device", "cortex_m4").out
    assert "estimated for cortex_m4" in shown
    for words in ("bound by", "arithmetic", "half of the channels", "storage"):
        assert words in shown
    found = json.loads(netsuke("inspect", TINY, "--device", "coral_tpu", "--json").out)
    assert found["source"] == "estimated"
    assert sum(layer["share"] for layer in found["layers"]) == pytest.approx(1.0)
    outcomes = {need["what"]: need["outcome"] for need in found["readiness"]["as it is"]}
    assert outcomes["kernels"] == "short"  # it has no FP32
    assert max(found["ceilings"], key=lambda c: c["faster"] or 0)["technique"].startswith("INT8")


def test_advice_says_what_speaks_for_and_against_each_technique(netsuke: Callable) -> None:
    said = netsuke(
        "advise", TINY, "--device", "pi4", "--application", "vision", "--hours", "0.1"
    ).out
    assert "for quantization: vision is real-time" in said
    assert "6 minutes are given" in said
    assert "against unstructured pruning: pi4 multiplies by zeros" in said
    assert "prune.channels" not in said  # there is no time to retrain
    wrong = netsuke("advise", TINY, "--application", "visions")
    assert wrong.code == 2
    assert "did you mean vision" in wrong.err
    floor = netsuke("advise", TINY, "--latency", "1ns")
    assert floor.code == 2
    assert "cannot be met" in floor.err


def test_what_advise_prints_at_its_end_fits_with_the_same_device_and_limits(
    netsuke: Callable,
) -> None:
    said = netsuke("advise", TINY, "--device", "pi4", "--size", "10KB", "--out", "first.toml")
    verb, *words = shlex.split(said.out.splitlines()[-1].partition("netsuke ")[2])
    assert {"--device=pi4", "--size=10KB", "--recipe=first.toml"} <= set(words)
    done = netsuke(verb, *words)
    assert done.code == 0, done
    record = json.loads(next(Path("runs").glob("*/report.json")).read_text(encoding="utf8"))
    assert record["device"]["name"] == "pi4"
    assert "proposals" not in record["advice"]


def test_inspect_and_advise_speak_json(netsuke: Callable) -> None:
    layers = json.loads(netsuke("inspect", TINY, "--json").out)
    assert sum(layer["macs"] for layer in layers) == 16 * 9 * 256 + 16 * 32 * 9 * 64 + 64
    advice = json.loads(netsuke("advise", TINY, "--size", "10KB", "--json").out)
    assert advice["proposals"][0]["recipe"][0]["use"] == "quantize.static"
    assert advice["proposals"][0]["source"] == "estimated"


def test_an_onnx_file_is_carved_like_a_module(fitted: Path, netsuke: Callable) -> None:
    said = netsuke(
        "fit", "tiny.py", "--onnx", fitted / "baseline.onnx", "--recipe", "int8.toml",
        "--size", "10KB", "--json",
    )  # fmt: skip
    assert said.code == 0, said
    record = json.loads(said.out)
    final = {e["what"]: e["value"] for e in record["final"]["evidence"]}
    assert final["size"] < 10_000
    assert final["drop"] <= 0.03


def test_measuring_any_onnx_file(fitted: Path, netsuke: Callable) -> None:
    said = netsuke("measure", fitted / "model.onnx")
    assert said.code == 0
    assert "memory" in said.out


def test_the_version_is_printed(netsuke: Callable) -> None:
    from netsuke import __version__

    assert netsuke("--version").out.strip() == __version__
