"""A network as a part of itself, and its units in the order of their worth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import NAMES, captured
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.nets.channels.branches import branches, drop
from netsuke.nets.channels.groups import Groups, groups
from netsuke.nets.channels.surgery import cut
from netsuke.nets.elastic.order import ordered
from netsuke.nets.elastic.part import become, part
from netsuke.nets.evaluation import BatchStatistics
from netsuke.nets.graph import clone


def first(known: Groups, share: float) -> dict[int, list[int]]:
    return {g.id: list(range(max(1, round(g.units * share)))) for g in known}


def by_batch(network: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """What it gives where its BatchNorms normalise by the batch."""
    with torch.no_grad():
        return BatchStatistics(network.eval()).run(*inputs)


def relative(given: Tensor, wanted: Tensor) -> float:
    return ((given - wanted).abs().max() / wanted.abs().max()).item()


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize("name", NAMES)
def test_a_part_computes_what_the_cut_network_does(name: str, share: float):
    model = captured(name)
    known = groups(model)
    keep = first(known, share)
    network = clone(model.network).eval()
    become(network, part(network, known, keep))
    with torch.no_grad():
        given = network(*model.example)
    assert relative(given, by_batch(cut(model, keep, known), model.example)) < 1e-4


def test_a_part_without_a_branch_computes_what_the_shorter_network_does():
    model = captured("resnet")
    known, leaving = groups(model), branches(model)[:1]
    network = clone(model.network).eval()
    become(network, part(network, known, {}, leaving))
    with torch.no_grad():
        given = network(*model.example)
    assert relative(given, by_batch(drop(model, leaving), model.example)) < 1e-4


def test_none_is_the_whole_again():
    model = captured("resnet")
    known = groups(model)
    network = clone(model.network).eval()
    with torch.no_grad():
        whole = network(*model.example)
        become(network, part(network, known, first(known, 0.5)))
        assert not torch.equal(network(*model.example), whole)
        become(network, None)
        assert torch.equal(network(*model.example), whole)


def test_gradients_of_a_part_reach_the_first_units_alone():
    model = captured("resnet")
    known = groups(model)
    network = clone(model.network).train()
    become(network, part(network, known, first(known, 0.5)))
    network(*model.example).sum().backward()
    group = max(known.groups, key=lambda g: g.units)
    member = next(m for m in group.members if m.role == "producer")
    slopes = dict(network.named_parameters())[member.tensor].grad.movedim(member.dim, 0)
    half = round(group.units * 0.5)
    assert slopes[:half].abs().sum() > 0
    assert slopes[half:].abs().sum() == 0


def test_a_part_leaves_the_running_statistics_alone():
    model = captured("resnet")
    known = groups(model)
    network = clone(model.network).train()
    before = {k: v.clone() for k, v in network.named_buffers()}
    become(network, part(network, known, first(known, 0.5)))
    network(*model.example)
    assert all(torch.equal(v, before[k]) for k, v in network.named_buffers())


def test_a_part_without_any_channel_is_refused_by_name():
    model = captured("resnet")
    known = groups(model)
    with pytest.raises(NetsukeError, match="would be left without channels"):
        part(model.network, known, {known.groups[0].id: []})


@pytest.mark.parametrize("name", NAMES)
def test_sorted_units_compute_the_same(name: str):
    model = captured(name)
    known = groups(model)
    draw = np.random.default_rng(3)
    scores = [draw.random(g.units) for g in known]
    made, stubborn = ordered(model, known, scores)
    with torch.no_grad():
        assert relative(made.network.eval()(*model.example), outputs(model)) < 1e-4
    assert len(stubborn) < len(known)


def test_the_unit_with_the_highest_score_comes_first():
    model = captured("mlp")
    known = groups(model)
    group = known.groups[0]
    scores = [np.arange(g.units, dtype=float) for g in known]
    made, stubborn = ordered(model, known, scores)
    member = next(m for m in group.members if m.role == "producer")
    old, new = (dict(m.network.named_parameters())[member.tensor] for m in (model, made))
    assert not stubborn
    assert torch.equal(new.movedim(member.dim, 0)[0], old.movedim(member.dim, 0)[-1])


def test_a_group_whose_order_is_read_stays_as_it_is():
    class Steps(nn.Module):
        """Neighbours are added up: the channels are not alike."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(self.a(x))
            y = y + y.roll(1, 1)
            return self.c(torch.relu(self.b(y)))

    from netsuke.nets.capture import capture

    torch.manual_seed(0)
    model: Model = capture(Steps().eval(), torch.randn(2, 4))
    known = groups(model)
    made, _ = ordered(model, known, [np.arange(g.units, dtype=float) for g in known])
    assert relative(made.network.eval()(*model.example), outputs(model)) < 1e-4
    assert replace(made, network=model.network) == model


def outputs(model: Model) -> Tensor:
    with torch.no_grad():
        return model.network.eval()(*model.example)
