import numpy as np
import pytest
import torch

from netsuke import NetsukeError
from netsuke.core.budget import Budget
from netsuke.core.observer import Observer
from netsuke.federation.adaptive import Adaptive, Pruning, worth
from netsuke.intake import take_goal, take_model
from workload_tiny import Tiny, task


@pytest.fixture
def network():
    torch.manual_seed(0)
    goal = take_goal(task(), "local", Budget(), 0, Observer())
    return take_model(Tiny(), goal.data, "tiny"), goal


def test_what_is_worth_most_stays_and_may_come_back(network):
    model, goal = network
    adaptive = Adaptive(model, goal)
    found = worth(model, goal)
    assert [len(each) for each in found] == [16, 32]
    first, second = (
        tuple(np.roll(np.arange(len(each), 0.0, -1.0), turn) for each in found) for turn in (0, 8)
    )
    adaptive.look([(first, 10)], 0.3)
    before = dict(adaptive.shape)
    assert before
    assert all(list(units) == list(range(len(units))) for units in before.values())
    small = sum(p.numel() for p in adaptive.network.parameters())
    assert small < sum(p.numel() for p in model.network.parameters())
    adaptive.look([(second, 10)], 0.3)
    assert all(min(units) >= 0 and 8 in units for units in adaptive.shape.values())
    assert "came back" in adaptive.said(before)


def test_clients_count_by_their_samples(network):
    model, goal = network
    up, down = (
        tuple(way * np.arange(1.0, len(each) + 1) for each in worth(model, goal)) for way in (1, -1)
    )
    one, other = Adaptive(model, goal), Adaptive(model, goal)
    one.look([(up, 30), (down, 10)], 0.3)
    other.look([(up, 1)], 0.3)
    assert {g: list(u) for g, u in one.shape.items()} == {
        g: list(u) for g, u in other.shape.items()
    }


def test_what_left_keeps_its_weights(network):
    model, goal = network
    adaptive = Adaptive(model, goal)
    adaptive.look([(worth(model, goal), 10)], 0.3)
    before = {name: t.clone() for name, t in adaptive.whole.items()}
    narrow = adaptive.network
    with torch.no_grad():
        for parameter in narrow.parameters():
            parameter.add_(1.0)
    adaptive.take(narrow.state_dict())
    moved = {n: (t - before[n]) for n, t in adaptive.whole.items() if t.is_floating_point()}
    for name, parameter in narrow.named_parameters():
        assert int((moved[name] > 0.5).sum()) == parameter.numel()
        assert int((moved[name] == 0).sum()) == moved[name].numel() - parameter.numel()
    again = adaptive.network.state_dict()
    assert all(torch.equal(again[name], t) for name, t in narrow.state_dict().items())


def test_it_goes_on_after_a_kill(network):
    model, goal = network
    one, other = Adaptive(model, goal), Adaptive(model, goal)
    one.look([(worth(model, goal), 10)], 0.3)
    other.resume(one.whole, one.shape)
    x = torch.randn(4, 1, 16, 16)
    assert torch.equal(one.network.eval()(x), other.network.eval()(x))


def test_most_leaves_first_and_all_by_the_end():
    plan = Pruning(ratio=0.6, first=2, every=2, last=0.5)
    found = {n: plan.gone(n, 20) for n in range(1, 21)}
    assert [n for n, gone in found.items() if gone is not None] == [2, 4, 6, 8, 10]
    gone = [found[n] for n in (2, 4, 6, 8, 10)]
    assert gone == sorted(gone)
    assert gone[0] > 0.1
    assert gone[-1] == pytest.approx(0.6)
    assert all(Pruning().gone(n, 20) is None for n in range(1, 21))
    with pytest.raises(NetsukeError, match="prune: 1; give a share"):
        Pruning(ratio=1)
