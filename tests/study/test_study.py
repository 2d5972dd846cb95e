"""Studies: they search, resume, survive, and leave a front of judged runs."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from netsuke.core.budget import Budget
from netsuke.core.choices import Chooser
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.study.laboratory import Laboratory
from netsuke.study.outcome import pick, read_study
from netsuke.study.studies import alone
from netsuke.study.verb import Plan, study
from netsuke.testing import samples
from notes import Notes

SPACE = """
[[slot]]
optional = true
[[slot.pass]]
use = "prune.channels"
ratio = { low = 0.2, high = 0.6 }
cost = "macs"
epochs = 0
[[slot]]
optional = true
[[slot.pass]]
use = "quantize.static"
weights = [8, 4]
[[slot.pass]]
use = "quantize.weights"
scheme = ["int8", "kmeans4"]
"""


@pytest.fixture(scope="module")
def model() -> Model:
    return samples.network()


def plan(out: Path, trials: int, **more: object) -> Plan:
    return Plan(out=out, trials=trials, space=SPACE, sampler="random", **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def done(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of seven trials, the front within a point of quality."""
    out = tmp_path_factory.mktemp("study") / "s"
    study(model, samples.task(), plan(out, 7), budget=Budget(drop="30 pt"))
    return out


def test_it_leaves_a_front_of_exported_judged_runs(done: Path) -> None:
    found = read_study(done)
    assert found["over"] == 7
    assert found["spent"]["trials"] > found["spent"]["beside"] > 0
    recipes = [one["recipe"] for one in found["trials"]]
    assert len(set(recipes)) == len(recipes)
    assert found["objectives"] == ["size", "latency", "drop"]
    points = [tuple(one["values"][o] for o in found["objectives"]) for one in found["front"]]
    for one in points:
        assert not any(all(a <= b for a, b in zip(other, one, strict=True)) for other in points if other != one)  # fmt: skip
    for one in found["front"]:
        run = done / one["folder"]
        assert (run / "model.onnx").stat().st_size == one["values"]["size"]
        assert (run / "report.html").is_file()
        assert one["verdict"]["outcome"] in ("pass", "fail", "unknown")
        assert all(e["what"] != "quality" or e["samples"] == 256 for e in one["evidence"])


def test_the_page_shows_every_run_of_the_front(done: Path) -> None:
    text = (done / "study.html").read_text("utf8")
    found = read_study(done)
    assert f"{len(found['front'])} of 7 trials on the front" in text
    for one in found["front"]:
        assert f'href="{one["folder"]}/report.html"' in text
    assert "Trials took" in text
    assert text.count("<svg") == 2
    assert "<script" not in text


def test_the_page_follows_a_study_under_way(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netsuke.study import verb

    seen: list[str] = []
    usual = verb.write_page

    def written(*given: object) -> None:
        usual(*given)  # type: ignore[arg-type]
        seen.append((tmp_path / "study.html").read_text("utf8"))

    monkeypatch.setattr(verb, "REDRAWN", 0.0)
    monkeypatch.setattr(verb, "write_page", written)
    untimed = plan(tmp_path, 2, objectives=("size", "drop"))
    study(model, samples.task(), untimed, budget=Budget(drop="90 pt"))
    assert "1 of 1 trials on the front" in seen[0]
    assert "not yet" in seen[-1]
    assert "not yet" not in (tmp_path / "study.html").read_text("utf8")


def test_more_trials_go_on_where_it_was_and_repeat_nothing(
    model: Model, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    usual = Laboratory.measure
    monkeypatch.setattr(Laboratory, "measure", lambda self, recipe: (measured.append(recipe.to_toml()), usual(self, recipe))[1])  # fmt: skip
    before = {one["recipe"] for one in read_study(done)["trials"]}
    study(model, samples.task(), plan(done, 9), budget=Budget(drop="30 pt"))
    assert len(measured) == 2
    assert not before & set(measured)
    assert read_study(done)["over"] == 9


def test_the_same_beginning_is_computed_once(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netsuke.passes.prune.channels import Channels

    count: list[int] = []
    usual = Channels.apply
    monkeypatch.setattr(Channels, "apply", lambda self, m, g: (count.append(1), usual(self, m, g))[1])  # fmt: skip
    fixed = SPACE.replace("optional = true", "", 1).replace("ratio = { low = 0.2, high = 0.6 }", "ratio = 0.4")  # fmt: skip
    study(model, samples.task(), Plan(out=tmp_path, trials=4, space=fixed, sampler="random", advised=False), budget=Budget(drop="90 pt"))  # fmt: skip
    assert len(count) == 1


def test_the_advisors_recipes_come_first(model: Model, tmp_path: Path) -> None:
    from netsuke import advise

    task = samples.task()
    limits = Budget(drop="30 pt", size="30 KB")
    best = advise(model, task, budget=limits).best
    study(model, task, plan(tmp_path, 1), budget=limits)
    (first,) = read_study(tmp_path)["trials"]
    uses = [line for line in first["recipe"].splitlines() if line.startswith("use")]
    assert uses == [f'use = "{p.name}"' for p in best]


def test_other_limits_pick_from_the_front_without_new_work(done: Path) -> None:
    found = read_study(done)
    sizes = sorted(one["values"]["size"] for one in found["front"])
    picked = pick(found, Budget(size=sizes[0]))
    assert picked[0]["values"]["size"] == sizes[0]
    assert picked[0]["verdict"]["outcome"] == "pass"
    beyond = pick(found, Budget(size=sizes[0] / 2))
    assert beyond[0]["verdict"]["outcome"] == "fail"
    assert beyond[0]["values"]["size"] == sizes[0]


def test_a_trial_that_fails_is_noted_and_the_study_goes_on(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netsuke.passes.quantize.weights import Weights

    def hungry(*_: object) -> None:
        raise MemoryError("cannot allocate 9 GB")

    monkeypatch.setattr(Weights, "apply", hungry)
    notes = Notes()
    study(model, samples.task(), plan(tmp_path, 8, observer=notes), budget=Budget(drop="90 pt"))
    said = [line for line in notes.said if line.startswith("trial")]
    assert len(said) == 8
    assert any("failed: cannot allocate 9 GB" in line for line in said)
    assert len(read_study(tmp_path)["trials"]) < 8


def test_a_trial_that_wants_more_memory_than_there_is_fails_alone(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocation is real; without the study's limit the kernel would promise it, and kill on use."""
    import psutil
    import torch

    from netsuke.passes.quantize.weights import Weights

    def greedy(*_: object) -> None:
        torch.zeros(psutil.virtual_memory().available // 2)

    monkeypatch.setattr(Weights, "apply", greedy)
    fixed = '[[slot]]\noptional = true\n[[slot.pass]]\nuse = "quantize.weights"\n'
    notes = Notes()
    search = Plan(out=tmp_path, trials=2, space=fixed, sampler="random", advised=False, observer=notes, objectives=("size", "drop"))  # fmt: skip
    study(model, samples.task(), search, budget=Budget(drop="90 pt"))
    assert any("failed" in line and "memory" in line for line in notes.said)
    assert torch.zeros(8).sum() == 0


def test_another_study_in_the_folder_is_left_alone(model: Model, done: Path) -> None:
    with pytest.raises(NetsukeError, match="study of another model, goal, space or objectives"):
        study(model, samples.task(), plan(done, 9, objectives=("size", "drop")), budget=Budget(drop="30 pt"))  # fmt: skip


def test_two_processes_do_not_work_on_one_study(model: Model, tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(NetsukeError, match="another process works on this study"):
        study(model, samples.task(), plan(tmp_path, 1))


def test_limits_that_nothing_meets_name_the_nearest(model: Model, tmp_path: Path) -> None:
    with pytest.raises(NetsukeError, match=r"none of 3 trials is within the limits; trial \d is nearest"):  # fmt: skip
        study(model, samples.task(), plan(tmp_path, 3, advised=False), budget=Budget(size="1 KB"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objectives": ("speed",)}, "objective speed; there are: size"),
        ({"objectives": ()}, "objective none"),
        ({"trials": 0}, "0 trials"),
        ({"sampler": "grid"}, "none of thompson, tpe, nsga2, nsga3, random"),
    ],
)
def test_what_is_asked_wrongly_is_named(
    model: Model, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(NetsukeError, match=message):
        study(
            model, samples.task(), Plan(out=tmp_path, **{"trials": 1, "space": SPACE, **settings})
        )  # type: ignore[arg-type]


@pytest.mark.parametrize("sampler", ["thompson", "tpe", "nsga2", "nsga3"])
def test_every_sampler_proposes(model: Model, tmp_path: Path, sampler: str) -> None:
    settings = Plan(out=tmp_path, trials=3, space=SPACE, sampler=sampler, advised=False)
    assert study(model, samples.task(), settings, budget=Budget(drop="95 pt"))


def test_a_killed_study_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """A real process, killed in mid-trial: its trial is begun again, the others are not."""
    space = tmp_path / "space.toml"
    space.write_text(SPACE)
    workload = Path(__file__).parent.parent / "workload_tiny.py"
    command = [
        sys.executable, "-m", "netsuke", "study", str(workload), "--space", str(space),
        "--sampler", "random", "--drop", "90 pt", "--out", str(tmp_path / "s"), "--trials",
    ]  # fmt: skip
    journal = tmp_path / "s" / "journal.log"
    process = subprocess.Popen([*command, "50"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and len(told_of(journal)) >= 2:
            break
        time.sleep(0.2)
    assert process.poll() is None, "it was to be killed in its midst"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    ended = told_of(journal)
    assert ended
    again = subprocess.run([*command, str(len(ended) + 2)], capture_output=True, text=True, check=False)  # fmt: skip
    assert again.returncode == 0, again.stderr
    data = json.loads((tmp_path / "s" / "study.json").read_text())
    assert data["over"] == len(ended) + 2
    assert set(ended) <= {one["number"] for one in data["trials"]}
    fresh = [one["recipe"] for one in data["trials"] if one["number"] not in again_of(journal)]
    assert len(fresh) == len(set(fresh))
    picked = subprocess.run(
        [sys.executable, "-m", "netsuke", "study", "--pareto", str(tmp_path / "s"), "--size", "1 GB", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert picked.returncode == 0, picked.stderr
    assert json.loads(picked.stdout)[0]["verdict"]["outcome"] == "pass"


def trials_of(journal: Path) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    try:
        return optuna.load_study(study_name="netsuke", storage=storage).trials
    except KeyError:
        return []


def told_of(journal: Path) -> list[int]:
    """Numbers of the trials that the journal says ended well."""
    again = again_of(journal)
    return [t.number for t in trials_of(journal) if t.state.name == "COMPLETE" and t.number not in again]  # fmt: skip


def again_of(journal: Path) -> set[int]:
    """Those that only say again what an earlier one found."""
    return {t.number for t in trials_of(journal) if "again" in t.user_attrs}


def test_it_searches_architectures_that_are_functions_of_choices(
    model: Model, tmp_path: Path
) -> None:
    from torch import nn

    def grown(choice: Chooser) -> nn.Module:
        width = int(choice.number("width", 4, 16))
        return nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * width, 4))  # fmt: skip

    space = '[[slot]]\n[[slot.pass]]\nuse = "distill.logits"\nstudent = "own"\nepochs = 2\n'
    asked = Plan(out=tmp_path, trials=3, space=space, sampler="random", advised=False, objectives=("size", "drop"))  # fmt: skip
    task = replace(samples.task(), student=grown)
    study(model, task, asked, budget=Budget(drop="95 pt"))
    recipes = {one["recipe"] for one in read_study(tmp_path)["trials"]}
    assert len(recipes) == 3
    assert all('"width=' in recipe for recipe in recipes)
