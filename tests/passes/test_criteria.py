"""Criteria of channels' importance: what each promises, and what it is there for."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import captured
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.registry import registered
from netsuke.core.task import Task, ready
from netsuke.nets.capture import capture
from netsuke.nets.channels.groups import groups
from netsuke.nets.channels.importance import Criterion, Scores
from netsuke.testing import samples

NAMES = {
    "activation", "batchnorm", "hessian", "l1", "l2", "magnitude", "median", "movement", "order", "random",
    "reconstruction", "taylor",
}  # fmt: skip
FOUND = registered(Criterion, "netsuke.passes.prune.criteria")


@cache
def trained() -> tuple[Model, Goal]:
    return samples.network(), samples.goal("pi4")


def score(name: str, model: Model, goal: Goal) -> tuple[Scores, ...]:
    return FOUND[name]().score(model, groups(model), goal)


def test_there_is_one_of_every_kind():
    assert set(FOUND) == NAMES


@pytest.mark.parametrize("name", sorted(FOUND))
def test_each_unit_gets_one_finite_score_and_the_same_one_again(name: str):
    model, goal = trained()
    found, again = score(name, model, goal), score(name, model, goal)
    for group, one, two in zip(groups(model), found, again, strict=True):
        assert one.shape == (group.units,)
        assert np.isfinite(one).all()
        assert np.array_equal(one, two)
        assert len(np.unique(one)) > 1
    assert FOUND[name].why


@pytest.mark.parametrize("name", sorted(NAMES - {"movement"}))
def test_attention_and_depthwise_layers_are_scored_too(name: str):
    for family in ("encoder", "mobilenet"):
        model = captured(family)
        (example,) = model.example
        x = np.repeat(example.numpy(), 8, axis=0)
        data = ready(Task(calibrate=x, validate=(x, np.zeros(len(x), int))))
        goal = Goal(data=data, device=trained()[1].device)
        assert all(np.isfinite(s).all() for s in score(name, model, goal))


def test_chance_is_drawn_by_the_seed():
    model, goal = trained()
    one, other = (score("random", model, replace(goal, seed=s))[0] for s in (0, 1))
    assert not np.array_equal(one, other)


def test_movement_needs_training_data():
    model, goal = trained()
    without = replace(goal, data=replace(goal.data, train=None))
    with pytest.raises(NetsukeError, match="movement follows training.*take taylor"):
        score("movement", model, without)


class Two(nn.Module):
    """Four hidden units, without a rectifier, so that what each does can be worked out."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.take = nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.take(self.make(x))


def two(make: list[list[float]], take: list[list[float]]) -> tuple[Model, Goal]:
    net = Two()
    with torch.no_grad():
        net.make.weight.copy_(torch.tensor(make))
        net.take.weight.copy_(torch.tensor(take))
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    task = Task(validate=(x, np.zeros(len(x), np.float32)), metric="mae")
    model = capture(net.eval(), torch.from_numpy(x[:2]))
    return model, Goal(data=ready(task), device=trained()[1].device)


def test_lengths_are_those_of_the_filters_and_the_middle_one_goes_first():
    model, goal = two([[3, -4, 0], [1, 1, 1], [0, 0, 2], [1, 0, 0]], [[1.0] * 4] * 2)
    assert score("l1", model, goal)[0] == pytest.approx([7, 3, 2, 1])
    assert score("l2", model, goal)[0] == pytest.approx([5, 3**0.5, 2, 1])
    assert score("magnitude", model, goal)[0] == pytest.approx([27, 5, 6, 3])
    assert score("median", model, goal)[0].argmin() in (1, 3)
    assert score("median", model, goal)[0].argmax() == 0


def test_activations_count_where_weights_are_alike():
    model, goal = two([[5, 0, 0], [1, 0, 0], [0, 3, 0], [0, 0, 0.1]], [[1.0] * 4] * 2)
    assert list(np.argsort(score("activation", model, goal)[0])) == [3, 1, 2, 0]


def test_what_another_unit_can_stand_in_for_leaves_first():
    """Unit 1 is twice unit 0: large in weights, yet nothing is lost without one of the two."""
    model, goal = two([[5, 0, 0], [10, 0, 0], [0, 0.5, 0], [0, 0, 0.5]], [[1.0] * 4] * 2)
    scores = score("reconstruction", model, goal)[0]
    assert scores.argmin() in (0, 1)
    assert scores.argmax() in (0, 1)
    assert score("l2", model, goal)[0].argmin() not in (0, 1)
