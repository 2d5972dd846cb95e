"""A supernet, and the parts taken out of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.nets.channels.rehearsal import Rehearsal, parts
from netsuke.nets.costs import layers
from netsuke.passes.prune.allocate import Allocator
from netsuke.passes.prune.channels import Channels
from netsuke.passes.prune.evolve import Evolution
from netsuke.passes.prune.prices import Prices
from netsuke.passes.prune.space import Bounds, Plan, Space, movable
from netsuke.passes.search.sampler import Sampler
from netsuke.passes.search.subnet import Subnet
from netsuke.passes.search.supernet import Supernet
from netsuke.testing import samples
from netsuke.testing.passes import PassConformance

SHORT = Supernet(epochs=12, lr=0.02, batch=32)


class TestSupernet(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return replace(SHORT, epochs=1)


class TestSubnet(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return Subnet(ratio=0.3, cost="macs")


@pytest.fixture(scope="module")
def supernet(model: Model, goal: Goal) -> Model:
    return SHORT.apply(model, goal)


def bounded(model: Model, goal: Goal, bounds: Bounds) -> Space:
    found = parts(model)
    prices = (Prices(model, found.groups, goal.device, "macs"),)
    return movable(found, (*found.groups, *found.branches), prices, bounds)


@pytest.fixture(scope="module")
def space(model: Model, goal: Goal) -> Space:
    return bounded(model, goal, Bounds())


def right(model: Model) -> float:
    x, y = samples.images(1024, 9)
    with torch.no_grad():
        return float((model.network.eval()(torch.from_numpy(x)).argmax(1).numpy() == y).mean())


def macs(model: Model) -> int:
    return sum(layer.macs for layer in layers(model))


def test_its_parts_work_without_training(model: Model, supernet: Model, goal: Goal):
    asked = Subnet(ratio=0.6, cost="macs")
    mine = asked.apply(supernet, goal)
    same = Channels(ratio=0.6, cost="macs", epochs=0, reconstruct=False).apply(model, goal)
    assert macs(mine) <= 0.4 * macs(model)
    assert right(mine) > right(same) + 0.02
    assert right(supernet) > right(model) - 0.03


def test_the_whole_is_as_big_as_it_was(model: Model, supernet: Model):
    assert macs(supernet) == macs(model)
    assert supernet.lineage[-1].name == "search.supernet"
    assert "widths and" in supernet.lineage[-1].summary


@pytest.mark.parametrize("teacher", ["original", "itself"])
def test_both_teachers(teacher: str, model: Model, goal: Goal):
    made = replace(SHORT, epochs=2, teacher=teacher).apply(model, goal)
    assert right(made) > 0.5


def test_the_smallest_opens_with_the_training(model: Model, goal: Goal):
    space = bounded(model, goal, Bounds(width=0.25))
    sampler = Sampler(model.network, space, 0.5, 2, 0)
    widths = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        sampler.before(model.network, progress)
        widths.append(sum(sampler.smallest().widths))
    assert widths[0] == sum(space.whole.widths)
    assert widths == sorted(widths, reverse=True)
    assert widths[2] == widths[3] < widths[0]
    assert sampler.smallest().leaving == frozenset(b for b in space.parts.branches)


def test_every_step_trains_the_whole_the_smallest_and_some_between(model: Model, goal: Goal):
    space = bounded(model, goal, Bounds(0.25, 0.5))
    sampler = Sampler(model.network, space, 0.0, 2, 0)
    sampler.before(model.network, 1.0)
    assert len(sampler.step(0)) == 4


@pytest.mark.parametrize("depth", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_no_part_has_fewer_branches_than_are_to_stay(model: Model, goal: Goal, depth: float):
    space = bounded(model, goal, Bounds(0.25, depth))
    sampler = Sampler(model.network, space, 0.0, 2, 0)
    sampler.before(model.network, 1.0)
    known = space.parts.branches
    most = int((1 - depth) * len(known))
    leaving = sampler.smallest().leaving
    assert len(leaving) == most
    if known and depth >= 0.5:
        assert known[0] not in leaving
    drawn = {len(sampler._random().leaving) for _ in range(100)}
    assert max(drawn) == most
    assert min(drawn) == 0


def test_it_needs_training_data(model: Model, goal: Goal):
    assert "training data" in str(
        SHORT.refuse(model, replace(goal, data=replace(goal.data, train=None)))
    )


def test_a_protected_layer_that_is_none_is_told(model: Model, goal: Goal):
    with pytest.raises(NetsukeError, match=r"search\.supernet\.protect: no layer 'nowhere'"):
        replace(SHORT, protect=("nowhere",)).refuse(model, goal)


def test_evolution_is_no_worse_than_the_greedy_way(model: Model, space: Space, goal: Goal):
    rehearsal = Rehearsal(model, space.parts, goal)
    draw = np.random.default_rng(0)
    space.order_by(tuple(draw.random(g.units) for g in space.parts.groups))

    def damage(plan: Plan) -> float:
        assert space.shares(plan)[0] <= 0.5
        return rehearsal.damage(space.keep(plan), plan.leaving)

    greedy = Allocator(space, rehearsal, goal).descend(space.whole, (0.5,))
    bred = Evolution(space, rehearsal, goal).descend(space.whole, (0.5,))
    assert damage(bred) <= damage(greedy)


@pytest.mark.parametrize("bounds", [Bounds(0.5, 1.0), Bounds(0.5, 0.5), Bounds(0.75, 0.0)])
def test_no_plan_goes_beyond_the_bounds(model: Model, goal: Goal, bounds: Bounds):
    space = bounded(model, goal, bounds)
    lowest, free = space.lowest(), len(space.parts.branches)
    assert space.within(lowest)
    assert not bounds.depth or len(lowest.leaving) < free
    assert not Space.within(bounded(model, goal, Bounds(0.9, 1.0)), lowest)
    space.order_by(tuple(np.arange(g.units, dtype=float) for g in space.parts.groups))
    share = (1 + space.shares(lowest)[0]) / 2
    rehearsal = Rehearsal(model, space.parts, goal)
    evolved = Evolution(space, rehearsal, goal)
    bred = evolved.descend(space.whole, (share,))
    assert space.within(bred)
    assert all(space.within(parent) for parent in evolved._best)


def told(supernet: Model, **settings: object) -> Model:
    """As if the supernet had been trained with these settings."""
    last = supernet.lineage[-1]
    changed = replace(last, settings={**last.settings, **settings})
    return replace(supernet, lineage=(*supernet.lineage[:-1], changed))


def test_a_part_is_of_what_was_trained(model: Model, supernet: Model, goal: Goal):
    trained = told(supernet, least=0.5, depth=1.0)
    small = Subnet(ratio=0.85, cost="macs")
    assert small.refuse(model, goal) is None
    assert "asks for more than was trained to leave: at most" in str(small.refuse(trained, goal))
    made = Subnet(ratio=0.3, cost="macs").apply(trained, goal)
    assert len(parts(made).branches) == len(parts(model).branches)


def test_what_the_supernet_protected_stays_whole(model: Model, supernet: Model, goal: Goal):
    group = parts(model).groups.groups[-1]
    made = Subnet(ratio=0.4, cost="macs").apply(told(supernet, protect=(group.name,)), goal)
    same = {g.name: g.units for g in parts(made).groups.groups}
    assert same[group.name] == group.units
