"""Trials are looked at before they train."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from netsuke.core.budget import Budget
from netsuke.core.choices import Chooser
from netsuke.core.recipe import Recipe
from netsuke.core.task import Task
from netsuke.passes.distill.logits import Logits
from netsuke.passes.prune.channels import Channels
from netsuke.passes.quantize.static import Static
from netsuke.passes.search.supernet import Supernet
from netsuke.study.first_look import is_drawn, untrained
from netsuke.study.verb import Plan, study
from netsuke.testing import samples
from notes import Notes

SPACE = """
[[slot]]
[[slot.pass]]
use = "distill.logits"
student = "own"
epochs = 3
"""


class Plain(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(torch.relu(self.first(x.flatten(1))))
        return y


def student(choice: Chooser) -> nn.Module:
    torch.manual_seed(0)
    return Plain(choice.one_of("width", (2, 4, 8, 256)))


def task() -> Task:
    images = samples.images
    return Task(train=images(256), validate=images(256, 1), test=images(256, 2), student=student)


def searched(folder: Path, limits: Budget, proxy: str = "") -> list[str]:
    notes = Notes()
    plan = Plan(
        out=folder, trials=4, space=SPACE, sampler="random", advised=False, seed=3,
        objectives=("size", "drop"), observer=notes, proxy=proxy,
    )  # fmt: skip
    study(samples.network(), task(), plan, budget=limits)
    return notes.said


def test_trainings_are_left_out_and_nothing_else():
    bare = untrained(Recipe(Channels(epochs=9), Static()))
    assert bare == Recipe(Channels(epochs=0), Static())


def test_what_does_not_train_or_cannot_do_without_is_not_looked_at():
    assert untrained(Recipe(Channels(epochs=0), Static())) is None
    assert untrained(Recipe(Supernet())) is None


@pytest.mark.parametrize(
    ("recipe", "drawn"),
    [
        (Recipe(Logits(student="own")), True),
        (Recipe(Logits(start="fresh")), True),
        (Recipe(Logits()), False),
        (Recipe(Channels()), False),
    ],
)
def test_which_networks_were_drawn_anew(recipe: Recipe, drawn: bool):
    assert is_drawn(recipe) is drawn


def test_what_is_beyond_its_limits_never_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    widths: list[int] = []
    usual = Logits.apply

    def trained(self, model, goal):
        if self.epochs:
            widths.append(int(self.choices[0].partition("=")[2]))
        return usual(self, model, goal)

    monkeypatch.setattr(Logits, "apply", trained)
    said = searched(tmp_path, Budget(size="10 KB", drop="100 pt"))
    refused = [line for line in said if "not trained" in line]
    assert refused
    assert all("beyond its limits" in line for line in refused)
    assert widths
    assert 256 not in widths


def test_a_proxy_sorts_before_training(tmp_path: Path):
    said = searched(tmp_path, Budget(drop="100 pt"), "parameters")
    assert len(said) >= 4
    assert any("on the front" in line for line in said)
