"""Trials that train begin short, and only the better ones go on."""

from pathlib import Path

import pytest

from netsuke.core.budget import Budget
from netsuke.core.recipe import Recipe
from netsuke.passes.prune.channels import Channels
from netsuke.passes.quantize.qat import Qat
from netsuke.passes.quantize.static import Static
from netsuke.study.halving import shortened
from netsuke.study.laboratory import Laboratory
from netsuke.study.marks import Mark, promising
from netsuke.study.outcome import read_study
from netsuke.study.verb import Plan, study
from netsuke.testing import samples
from notes import Notes

GOOD, BAD = Mark((1.0, 1.0), 0.0), Mark((2.0, 2.0), 0.0)
SPACE = """
[[slot]]
[[slot.pass]]
use = "prune.channels"
ratio = 0.4
cost = "macs"
epochs = 9
lr = { low = 0.0001, high = 0.05 }
"""


def test_every_training_gets_shorter_and_nothing_else():
    short = shortened(Recipe(Channels(epochs=9), Static()), 1 / 3)
    assert short is not None
    assert [p.settings().get("epochs") for p in short] == [3, None]
    assert tuple(short)[1] == Static()


def test_what_does_not_train_has_no_rungs():
    assert shortened(Recipe(Channels(epochs=0), Static()), 1 / 3) is None
    assert shortened(Recipe(), 1 / 3) is None


def test_a_training_that_would_be_none_has_no_such_rung():
    assert shortened(Recipe(Channels(epochs=9), Qat(epochs=3)), 1 / 9) is None


@pytest.mark.parametrize(
    ("mark", "others", "goes"),
    [
        (BAD, [], True),
        (BAD, [GOOD], True),
        (BAD, [GOOD, GOOD], False),
        (GOOD, [BAD, BAD], True),
        (Mark((1.5, 1.5), 0.0), [GOOD, BAD, BAD], True),
        (Mark((1.0, 2.0), 0.0), [Mark((2.0, 1.0), 0.0)], True),
        (Mark((0.1, 0.1), 0.5), [BAD, BAD], False),
        (Mark((0.1, 0.1), 0.5), [Mark((0.1, 0.1), 0.9)], True),
    ],
)
def test_the_best_third_goes_on(mark: Mark, others: list[Mark], goes: bool):
    assert promising(mark, others) is goes


def test_worse_trials_stop_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trained: list[int] = []
    usual = Laboratory.measure
    monkeypatch.setattr(Laboratory, "measure", lambda self, recipe: (trained.append(next(iter(recipe)).settings()["epochs"]), usual(self, recipe))[1])  # fmt: skip
    notes = Notes()
    plan = Plan(out=tmp_path, trials=6, space=SPACE, sampler="random", advised=False, objectives=("drop",), observer=notes)  # fmt: skip
    study(samples.network(), samples.task(), plan, budget=Budget(drop="90 pt"))
    stopped = [line for line in notes.said if "stopped after 1/" in line]
    assert stopped
    assert trained.count(1) == 6
    assert trained.count(9) == len(read_study(tmp_path)["trials"]) < 6
    assert len(stopped) + trained.count(9) == 6
