"""One fit for several devices: an artifact for each, from work that is done once where it can be."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import netsuke
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.core.recipe import make_pass, read_recipe
from netsuke.fitting import Options
from netsuke.workbench import Shared

sys.path.insert(0, str(Path(__file__).parent))
import workload_tiny as tiny

INT8 = '[[pass]]\nuse = "quantize.static"\nsamples = 64\n'
PRUNED = '[[pass]]\nuse = "prune.channels"\nratio = 0.3\ncost = "macs"\nepochs = 1\n' + INT8
FREE = netsuke.Budget(drop="100 pt")


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the passes that were really applied."""
    applied: list[str] = []
    for name in ("prune.channels", "quantize.static"):
        kind = type(make_pass(name, {}))
        own: Callable[..., Model] = kind.apply

        def apply(self: Pass, *given: object, own: Callable[..., Model] = own) -> Model:
            applied.append(self.name)
            return own(self, *given)

        monkeypatch.setattr(kind, "apply", apply)
    return applied


def test_what_asks_no_device_is_done_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    applied = counted(monkeypatch)
    here, pi = netsuke.fit_each(
        tiny.model(), tiny.task(), devices=("local", "pi4"), budget=FREE, recipe=read_recipe(PRUNED),
        options=Options(name="tiny", out=tmp_path / "both"),
    )  # fmt: skip
    assert applied == ["prune.channels", "quantize.static"]
    assert here.artifact.sha256 == pi.artifact.sha256
    assert (here.folder, pi.folder) == (tmp_path / "both" / "local", tmp_path / "both" / "pi4")
    assert [run.record["device"]["name"] for run in (here, pi)] == ["local", "pi4"]
    # what is measured here is no evidence of the other machine
    sources = {e["what"]: e["source"] for e in pi.record["final"]["evidence"] if e["device"] == "pi4"}  # fmt: skip
    assert sources["latency_p50"] == "estimated"


def test_what_carves_by_time_is_done_for_each() -> None:
    timed, counted_up = (make_pass("prune.channels", {"cost": c}) for c in ("seconds", "macs"))
    assert timed.asks_device
    assert not counted_up.asks_device
    assert make_pass("quantize.mixed", {}).asks_device
    assert not make_pass("quantize.qat", {}).asks_device


def test_shared_work_is_of_one_model_and_one_pass() -> None:
    made: list[object] = []

    class Counting(Pass):
        name = "counting"
        asks_device = False

        def apply(self, model, goal):  # type: ignore[no-untyped-def]
            made.append(model)
            return Model.__new__(Model)

    shared, one, other = Shared(), Model.__new__(Model), Model.__new__(Model)
    wanted = Counting()
    first = shared.apply(wanted, one, None)  # type: ignore[arg-type]
    assert shared.apply(wanted, one, None) is first  # type: ignore[arg-type]
    assert shared.apply(wanted, other, None) is not first  # type: ignore[arg-type]
    assert len(made) == 2


def test_a_device_named_twice_is_refused() -> None:
    with pytest.raises(NetsukeError, match="device pi4 is named twice"):
        netsuke.fit_each(tiny.model(), tiny.task(), devices=("pi4", "local", "pi4"))


def test_on_the_command_line_every_device_has_a_verdict(
    netsuke: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = Path(tiny.__file__)
    (tmp_path / "int8.toml").write_text(INT8)
    said = netsuke(
        "fit", workload, "--device", "local", "--device", "pi5", "--recipe", "int8.toml", "--drop", "100pt", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    runs = json.loads(said.out)
    assert [run["device"]["name"] for run in runs] == ["local", "pi5"]
    assert all((tmp_path / run["folder"] / "model.onnx").is_file() for run in runs)
    assert netsuke("fit", workload, "--device", "local", "--device", "pi44").code == 2
