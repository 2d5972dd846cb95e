"""The dense control: what the training alone was worth."""

import sys
from pathlib import Path

import pytest
import torch

import netsuke
from netsuke.control import control, plans
from netsuke.core.evidence import find
from netsuke.core.observer import Observer
from netsuke.core.recipe import read_recipe
from netsuke.flow import Options
from netsuke.intake import take_goal, take_model

sys.path.insert(0, str(Path(__file__).parent))
import workload_tiny as tiny

TRAINED = '[[pass]]\nuse = "prune.channels"\nratio = 0.3\ncost = "macs"\nepochs = 2\n'
INT8 = '[[pass]]\nuse = "quantize.static"\nsamples = 64\n'


class Notes(Observer):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def fit(folder: Path, recipe: str, observer: Observer) -> netsuke.store.Run:
    options = Options(name="tiny", out=folder, control=True, observer=observer)
    return netsuke.fit(tiny.model(), tiny.task(), recipe=read_recipe(recipe), options=options)


def test_a_run_says_how_far_it_is_below_a_control_trained_as_long(tmp_path: Path) -> None:
    run = fit(tmp_path / "run", TRAINED + INT8, Observer())
    quality, found, lost = (find(run.evidence, w) for w in ("quality", "control", "control_drop"))
    assert quality
    assert found
    assert lost
    assert lost.samples == found.samples == quality.samples
    assert lost.value == pytest.approx(found.value - quality.value)
    assert "Dense control of equal training" in (run.folder / "report.md").read_text("utf8")


def test_the_control_is_the_original_trained_by_the_kept_steps_alone() -> None:
    undone = {"name": "prune.channels", "settings": {"ratio": 0.5, "epochs": 9}, "final": False}
    steps = [
        undone,
        {"name": "prune.channels", "settings": {"ratio": 0.3, "epochs": 4, "lr": 0.02, "batch": 16, "soft": 0.0}, "final": True},
        {"name": "quantize.static", "settings": {}, "final": True},
        {"name": "prune.channels", "settings": {"ratio": 0.3, "epochs": 0}, "final": True},
    ]  # fmt: skip
    training = plans(steps)
    assert [(plan.epochs, plan.lr) for plan in training] == [(4, 0.02)]
    goal = take_goal(tiny.task(), "local", netsuke.Budget(), 0, Observer())
    torch.manual_seed(0)
    original = take_model(tiny.Tiny(), goal.data, "tiny")  # of chance: any training is kept
    before = {k: v.clone() for k, v in original.network.state_dict().items()}
    dense = control(original, training, goal)
    after = dense.network.state_dict()
    assert {k: v.shape for k, v in after.items()} == {k: v.shape for k, v in before.items()}
    assert any(not torch.equal(after[k], before[k]) for k in before)
    assert all(torch.equal(original.network.state_dict()[k], before[k]) for k in before)


def test_where_nothing_was_trained_there_is_no_control_and_that_is_said(tmp_path: Path) -> None:
    notes = Notes()
    run = fit(tmp_path / "run", INT8, notes)
    assert find(run.evidence, "control") is None
    assert any("no control" in note for note in notes.notes)
