"""The walk, end to end, on a tiny network: real training, export, runtime and files."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import netsuke
from netsuke import flow, store
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import find
from netsuke.core.observer import Observer
from netsuke.core.recipe import read_recipe
from netsuke.core.task import ready
from netsuke.intake import take_model
from netsuke.packer import pack, unpack

sys.path.insert(0, str(Path(__file__).parent))
import workload_tiny as tiny

INT8 = '[[pass]]\nuse = "quantize.static"\nsamples = 64\n'
PRUNED = '[[pass]]\nuse = "prune.channels"\nratio = 0.3\ncost = "macs"\nepochs = 2\n' + INT8


def options(folder: Path, **rest: object) -> flow.Options:
    return flow.Options(name="tiny", out=folder, **rest)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    budget = netsuke.Budget(size="20 KB", drop="3 pt")
    folder = tmp_path_factory.mktemp("runs") / "tiny-1"
    recipe = read_recipe(PRUNED)
    return netsuke.fit(
        tiny.model(), tiny.task(), budget=budget, recipe=recipe, options=options(folder)
    )


def test_a_run_folder_is_whole(run: store.Run) -> None:
    names = {p.name for p in run.folder.iterdir()}
    assert names == {
        "model.onnx", "model.nsk", "baseline.onnx", "recipe.toml", "evidence.json", "report.html", "report.md",
        "report.json", "manifest.json", "network",
    }  # fmt: skip
    store.verify(store.open_run(run.folder))


def test_the_result_is_smaller_and_judged(run: store.Run) -> None:
    size = find(run.evidence, "size")
    baseline = {e["what"]: e for e in run.record["baseline"]["evidence"]}
    assert size is not None
    assert size.value == (run.folder / "model.onnx").stat().st_size
    assert size.value < baseline["size"]["value"] / 2
    drop = find(run.evidence, "drop")
    assert drop is not None
    assert drop.samples == 400
    assert {v["check"] for v in run.record["verdicts"]} >= {"budget", "parity"}


def test_every_step_is_recorded_with_its_evidence(run: store.Run) -> None:
    steps = run.record["steps"]
    assert [s["name"] for s in steps if s["outcome"] == "kept"][-1] == "quantize.static"
    for step in steps:
        assert step["seconds"] > 0
        assert step["reason"]
        whats = {e["what"] for e in step["evidence"]}
        assert step["outcome"] == "refused" or {"size", "quality", "drop", "step_size"} <= whats


def test_what_is_loaded_is_what_was_made(run: store.Run) -> None:
    x, y = tiny.arrays(400, 2)
    (outputs,) = netsuke.load(run.folder).run((x,))
    quality = find(run.evidence, "quality")
    assert quality is not None
    assert (outputs.argmax(1) == y).mean() == pytest.approx(quality.value)


def test_the_stored_form_expands_to_the_model(run: store.Run, tmp_path: Path) -> None:
    unpack(run.folder / "model.nsk", tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == (run.folder / "model.onnx").read_bytes()
    stored = find(run.evidence, "stored")
    assert stored is not None
    assert stored.value == (run.folder / "model.nsk").stat().st_size
    assert {"model.onnx", "model.nsk", "baseline.onnx"} <= store.hashes(run.folder).keys()
    assert "hashes" not in run.record


def test_a_folder_with_the_stored_form_alone_is_loaded(run: store.Run, tmp_path: Path) -> None:
    for name in ("model.nsk", "manifest.json", "report.json"):
        shutil.copy(run.folder / name, tmp_path)
    x, _ = tiny.arrays(40, 2)
    (wanted,), (found,) = (netsuke.load(folder).run((x,)) for folder in (run.folder, tmp_path))
    assert np.array_equal(wanted, found)
    pack(run.folder / "baseline.onnx", tmp_path / "model.nsk")
    with pytest.raises(NetsukeError, match=r"model\.nsk: is of another run"):
        netsuke.load(tmp_path)
    (tmp_path / "model.nsk").unlink()
    with pytest.raises(NetsukeError, match=r"model\.onnx: missing"):
        netsuke.load(tmp_path)


def test_the_report_says_what_each_step_buys(run: store.Run) -> None:
    text = (run.folder / "report.md").read_text(encoding="utf8")
    kept = [s for s in run.record["steps"] if s["outcome"] != "refused"]
    assert text.count("On onnxruntime this buys") == len(kept)
    assert "| Stored form |" in text


def test_a_tampered_model_is_refused(run: store.Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    data = bytearray((copy / "model.onnx").read_bytes())
    data[100] ^= 1
    (copy / "model.onnx").write_bytes(data)
    with pytest.raises(NetsukeError, match=r"model\.onnx: differs from its hash"):
        netsuke.load(copy)


def test_a_replay_gives_the_same_artifact(run: store.Run, tmp_path: Path) -> None:
    again = flow.replay(run, tiny.model(), tiny.task(), options(tmp_path / "again"))
    assert again.artifact.sha256 == run.artifact.sha256


def test_a_replay_judges_by_the_device_as_it_was(run: store.Run, tmp_path: Path) -> None:
    again = flow.replay(run, tiny.model(), tiny.task(), options(tmp_path / "again"))
    assert again.record["device"] == run.record["device"]
    assert again.record["device"]["formats"]["fp32"] > 0


def test_data_in_double_precision_becomes_single() -> None:
    x, y = tiny.arrays(64, 0)
    task = netsuke.Task(validate=(x.astype(np.float64), y))
    assert str(take_model(tiny.model(), ready(task), "tiny").example[0].dtype) == "torch.float32"


def test_a_replay_of_a_later_proposal_keeps_its_steps(run: store.Run, tmp_path: Path) -> None:
    steps = [{**s, "proposal": 1} for s in run.record["steps"]]
    later = store.Run(run.folder, {**run.record, "steps": steps})
    again = flow.replay(later, tiny.model(), tiny.task(), options(tmp_path / "again"))
    assert (again.folder / "recipe.toml").read_text() == (run.folder / "recipe.toml").read_text()


class KilledError(Exception):
    """Stands for a kill between two steps."""


class Killer(Observer):
    def step(self, record: dict[str, object]) -> None:
        if record["name"] == "quantize.static":
            raise KilledError


class Counter(Observer):
    def __init__(self) -> None:
        self.steps: list[object] = []

    def step(self, record: dict[str, object]) -> None:
        self.steps.append(record["name"])


def test_an_interrupted_fit_goes_on_from_its_last_accepted_step(tmp_path: Path) -> None:
    model, recipe, folder = tiny.model(), read_recipe(PRUNED), tmp_path / "cut"
    with pytest.raises(KilledError):
        netsuke.fit(model, tiny.task(), recipe=recipe, options=options(folder, observer=Killer()))
    assert (folder / "progress.json").exists()
    assert not (folder / "manifest.json").exists()
    counter = Counter()
    resumed = netsuke.fit(
        model, tiny.task(), recipe=recipe, options=options(folder, observer=counter)
    )
    assert counter.steps == ["quantize.static"]
    assert [s["name"] for s in resumed.record["steps"]] == ["prune.channels", "quantize.static"]
    assert not (folder / "progress.json").exists()


def test_a_limit_nobody_can_reach_fails_with_the_best_that_was_reached(tmp_path: Path) -> None:
    budget = netsuke.Budget(size="100 B")
    run = netsuke.fit(
        tiny.model(),
        tiny.task(),
        budget=budget,
        recipe=read_recipe(INT8),
        options=options(tmp_path / "r"),
    )
    assert run.verdict.outcome == "fail"
    assert "100 B" in run.verdict.reason
    assert run.artifact.path.stat().st_size > 100


def test_without_training_data_only_post_training_methods_are_proposed() -> None:
    task = netsuke.Task(validate=tiny.arrays(128, 1), test=tiny.arrays(128, 2))
    advice = netsuke.advise(tiny.model(), task, budget=netsuke.Budget(size="1 KB"))
    proposed = [[(p.name, p.settings()["weights"]) for p in o.recipe] for o in advice.proposals]
    assert sorted(proposed) == [[("quantize.static", 4)], [("quantize.static", 8)]]
    assert any("no training data" in r for r in advice.reasons)


def test_a_tight_limit_with_training_data_proposes_pruning() -> None:
    mildest = netsuke.advise(tiny.model(), tiny.task()).proposals[0]
    assert [p.name for p in mildest.recipe] == ["quantize.static"]
    tight = netsuke.Budget(size=0.5 * mildest.size)
    advice = netsuke.advise(tiny.model(), tiny.task(), budget=tight)
    assert [p.name for p in advice.proposals[0].recipe] == ["prune.channels", "quantize.static"]


def test_an_estimate_is_never_shown_as_a_measurement(tmp_path: Path) -> None:
    run = netsuke.fit(
        tiny.model(), tiny.task(), device="pi4", budget=netsuke.Budget(latency_p95="5 ms"),
        recipe=read_recipe(INT8), options=options(tmp_path / "pi"),
    )  # fmt: skip
    for evidence in run.evidence:
        assert (evidence.source == "estimated") == (evidence.device == "pi4"), evidence.what
    assert "estimated" in run.verdict.reason or "estimated" in json.dumps(run.record["verdict"])


def test_test_data_is_read_only_for_the_final_evidence(tmp_path: Path) -> None:
    """Test labels turned upside down change the final figures and nothing that was chosen."""
    x, y = tiny.arrays(400, 2)
    chosen = []
    for number, labels in enumerate((y, 1 - y)):
        task = netsuke.Task(
            train=tiny.arrays(256, 0), validate=tiny.arrays(128, 1), test=(x, labels)
        )
        run = netsuke.fit(
            tiny.model(), task, recipe=read_recipe(INT8), options=options(tmp_path / str(number))
        )
        quality = find(run.evidence, "quality")
        assert quality is not None
        chosen.append((run.artifact.sha256, quality.value))
    assert chosen[0][0] == chosen[1][0]
    assert chosen[0][1] == pytest.approx(1 - chosen[1][1])


def test_walking_step_by_step_gives_evidence_and_a_verdict_for_each() -> None:
    steps = list(netsuke.walk(tiny.model(), read_recipe(INT8), tiny.task()))
    assert steps[0].tried.name == "quantize.static"
    assert steps[-1].state is not None
    assert np.isfinite([e.value for e in steps[-1].state.evidence]).all()
