"""Patterns, allocation and criteria: which weights become zero."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from models import captured
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.registry import registered
from netsuke.core.task import Task, ready
from netsuke.nets.capture import capture
from netsuke.nets.sparse.allocate import least_kept, masks
from netsuke.nets.sparse.layers import Layer, layers, others
from netsuke.nets.sparse.pattern import Pattern, parse
from netsuke.nets.sparse.saliency import Saliency
from netsuke.passes.prune.saliency.magnitude import Magnitude
from netsuke.testing import samples

CRITERIA = registered(Saliency, "netsuke.passes.prune.saliency")
SHAPES = {"small": (4, 8), "wide": (40, 50), "conv": (16, 8, 3, 3)}
LAYERS = tuple(Layer(name, name, shape) for name, shape in SHAPES.items())
FREE = Pattern()


@pytest.fixture(scope="module")
def model() -> Model:
    return samples.network()


@pytest.fixture(scope="module")
def goal() -> Goal:
    return samples.goal("pi4")


def scores(seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=draw) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("scope", ["global", "layer", "erk"])
@pytest.mark.parametrize("sparsity", [0.3, 0.9, 0.99])
def test_as_many_weights_leave_as_were_asked_for(scope, sparsity):
    chosen = masks(LAYERS, scores(), sparsity, (FREE, scope))
    total = sum(layer.size for layer in LAYERS)
    stay = sum(int(mask.sum()) for mask in chosen.values())
    assert abs(stay - (1 - sparsity) * total) <= len(LAYERS)
    assert all(mask.any() for mask in chosen.values())


def test_of_each_layer_the_highest_scores_stay():
    given = scores()
    for name, mask in masks(LAYERS, given, 0.7, (FREE, "layer")).items():
        assert given[name][mask].min() >= given[name][~mask].max()


def test_one_threshold_for_all_takes_more_where_scores_are_low():
    given = scores()
    given["wide"] = given["wide"] / 100
    chosen = masks(LAYERS, given, 0.5, (FREE, "global"))
    assert chosen["wide"].float().mean() < 0.25 < 0.8 < chosen["conv"].float().mean()


def test_no_layer_falls_below_a_tenth_of_the_mean_density():
    given = scores()
    given["small"] = given["small"] / 1e6
    chosen = masks(LAYERS, given, 0.5, (FREE, "global"))
    assert int(chosen["small"].sum()) == round(0.1 * 0.5 * 32)


def test_equal_scores_leave_exactly_as_many():
    alike = {name: torch.ones(shape) for name, shape in SHAPES.items()}
    for scope in ("global", "layer"):
        chosen = masks(LAYERS, alike, 0.9, (FREE, scope))
        stay = sum(int(mask.sum()) for mask in chosen.values())
        assert stay == pytest.approx(0.1 * sum(layer.size for layer in LAYERS), abs=2)


def test_small_layers_keep_more_by_their_shape():
    chosen = masks(LAYERS, scores(), 0.9, (FREE, "erk"))
    shares = {name: float(mask.float().mean()) for name, mask in chosen.items()}
    assert shares["small"] > shares["wide"] > 0.1 > shares["conv"]


@pytest.mark.parametrize(("stay", "of"), [(2, 4), (4, 8), (1, 2)])
def test_each_run_along_the_inputs_keeps_its_best(stay, of):
    given, pattern = scores(), Pattern(stay, of)
    chosen = masks(LAYERS[:1] + LAYERS[2:], given, 0.0, (pattern, "global"))
    runs = chosen["conv"].movedim(1, -1).reshape(-1, of)
    assert (runs.sum(1) == stay).all()
    values = given["conv"].movedim(1, -1).reshape(-1, of)
    best = values.sort(1, descending=True).values[:, stay - 1]
    assert torch.equal(values.masked_fill(~runs, 2).amin(1), best)


@pytest.mark.parametrize("text", ["4:2", "0:4", "2:2", "2-4", "", "a:b", "2:4:8"])
def test_no_pattern_by_that_name(text):
    with pytest.raises(NetsukeError, match="pattern: .* n:m"):
        parse(text)


def test_a_pattern_names_itself_and_fits_whole_runs_only():
    assert [str(parse(text)) for text in ("free", "2:4", "4:8")] == ["free", "2:4", "4:8"]
    assert parse("2:4").fits(LAYERS[0])
    assert not parse("2:4").fits(LAYERS[1])
    assert [parse("2:4").at(s).stay for s in (0, 0.4, 0.5, 1)] == [4, 4, 3, 2]


@pytest.mark.parametrize(("scope", "empty"), [("layer", "small"), ("global", None)])
def test_the_layer_that_would_be_emptied_is_found(scope, empty):
    found = least_kept(LAYERS, 0.995, (FREE, scope))
    assert (found.name if found else None) == empty
    assert least_kept(LAYERS, 0.5, (FREE, scope)) is None


def test_what_is_no_layers_weight_is_named_with_the_reason():
    network = captured("encoder").network
    mine = {layer.weight for layer in layers(network)}
    rest = dict(others(network))
    assert mine.isdisjoint(rest)
    assert mine | set(rest) == {n for n, p in network.named_parameters() if p.ndim > 1}


def test_a_transposed_convolution_sums_along_its_first_dimension():
    net = nn.ConvTranspose2d(8, 6, 3)
    (layer,) = layers(capture(net, torch.randn(2, 8, 5, 5)).network)
    assert (layer.inputs, layer.shape) == (0, (8, 6, 3, 3))
    assert parse("2:4").best(torch.rand(layer.shape), layer).sum(0).eq(4).all()


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_scores_every_weight_the_same_each_time(name, model, goal):
    found = layers(model.network)
    one, two = (CRITERIA[name]().score(model, found, goal) for _ in range(2))
    for layer in found:
        assert one[layer.weight].shape == layer.shape
        assert torch.isfinite(one[layer.weight]).all()
        assert (one[layer.weight] >= 0).all()
        assert torch.equal(one[layer.weight], two[layer.weight])


@pytest.mark.parametrize("name", [n for n in CRITERIA if n != "random"])
def test_a_criterion_is_no_random_choice(name, model, goal):
    """What it keeps of a layer's weights says more of the layer's output than what chance keeps."""
    found = layers(model.network)
    given = CRITERIA[name]().score(model, found, goal)
    chance = CRITERIA["random"]().score(model, found, goal)
    kept = [
        sum(
            float(model.network.get_parameter(n).detach()[m].square().sum())
            for n, m in chosen.items()
        )
        for chosen in (masks(found, s, 0.7, (FREE, "layer")) for s in (given, chance))
    ]
    assert kept[0] > 1.2 * kept[1]


def test_random_is_drawn_by_the_seed(model, goal):
    found = layers(model.network)
    one, two = (
        CRITERIA["random"]().score(model, found, replace(goal, seed=seed)) for seed in (0, 1)
    )
    assert not torch.equal(one["first.weight"], two["first.weight"])


def test_wanda_looks_at_inputs_and_magnitude_does_not():
    torch.manual_seed(0)
    made = capture(nn.Linear(8, 4), torch.randn(2, 8))
    x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    x[:, 3] = 0
    task = Task(calibrate=x, validate=(x, np.zeros(64, np.int64)))
    goal = Goal(data=ready(task), device=samples.goal("pi4").device)
    found = layers(made.network)
    assert not CRITERIA["wanda"]().score(made, found, goal)["weight"][:, 3].any()
    assert Magnitude().score(made, found, goal)["weight"][:, 3].all()


@pytest.mark.parametrize("name", ["wanda", "obs"])
def test_calibration_samples_that_are_not_numbers_are_named(name, model):
    x, y = samples.images(64)
    x[5, 0, 2, 2] = np.nan
    goal = Goal(data=ready(Task(calibrate=x, validate=(x, y))), device=samples.goal("pi4").device)
    with pytest.raises(NetsukeError, match="NaN or infinite values reach first"):
        CRITERIA[name]().score(model, layers(model.network), goal)
