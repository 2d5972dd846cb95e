"""prune.weights: what leaves, when, what it says, what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.core.recipe import read_recipe
from netsuke.core.task import Task, ready
from netsuke.nets.capture import capture
from netsuke.nets.evaluation import evaluate
from netsuke.nets.graph import clone, set_tensor
from netsuke.nets.sparse.layers import layers
from netsuke.nets.sparse.norms import restored
from netsuke.passes.prune.schedules import iterative
from netsuke.passes.prune.weights import Weights
from netsuke.passes.quantize.static import Static
from netsuke.passes.quantize.weights import Weights as Coded
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.testing import samples
from netsuke.testing.passes import PassConformance

QUICK = Weights(epochs=2, batch=64, lr=0.05)
ONCE = replace(QUICK, when="once", epochs=0)


class TestWeights(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return QUICK


def sparsity(model: Model) -> float:
    weights = [model.network.get_parameter(x.weight) for x in layers(model.network)]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def right(model: Model, goal: Goal) -> float:
    return evaluate(model.network, goal.data.validate, goal.data.metric)


def unlabelled(goal: Goal) -> Goal:
    return replace(goal, data=replace(goal.data, train=None))


@pytest.mark.parametrize("when", ["once", "gradual", "rigl", "movement", "gates"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_as_much_leaves_as_was_asked_for(when, share, model, goal):
    made = replace(QUICK, when=when, sparsity=share).apply(model, goal)
    assert sparsity(made) == pytest.approx(share, abs=2e-3)
    assert all(p.any() for p in made.network.parameters())


@pytest.mark.parametrize("when", ["once", "gradual", "iterative"])
def test_a_pattern_holds_in_every_layer_it_fits(when, model, goal):
    made = replace(QUICK, pattern="2:4", when=when, steps=2).apply(model, goal)
    for name in ("conv1.weight", "conv2.weight", "last.weight"):
        runs = made.network.get_parameter(name).movedim(1, -1).reshape(-1, 4)
        assert ((runs != 0).sum(1) <= 2).all()
    assert made.network.get_parameter("first.weight").all()
    assert "protected: first (1 inputs are no whole runs of 4)" in made.lineage[-1].notes


def test_training_while_pruning_beats_pruning_at_once(model, goal):
    made = {w: replace(QUICK, when=w, sparsity=0.9, epochs=e, batch=32).apply(model, goal)
            for w, e in (("once", 0), ("gradual", 5))}  # fmt: skip
    assert right(made["gradual"], goal) > right(made["once"], goal) + 0.05


def test_the_dense_epochs_before_the_ramp_ends_are_never_kept(model, goal):
    made = replace(QUICK, sparsity=0.99, epochs=4).apply(model, goal)
    assert sparsity(made) == pytest.approx(0.99, abs=2e-3)
    assert right(made, goal) < right(model, goal)


def test_rebuilding_mends_what_leaves_at_once_without_labels(model, goal):
    before, after = (
        replace(ONCE, criterion="random", scope="layer", sparsity=0.6, rebuild=n) for n in (0, 256)
    )
    plain, mended = (right(p.apply(model, unlabelled(goal)), goal) for p in (before, after))
    assert mended > plain + 0.1


def test_rebuilt_layers_give_what_they_gave(model, goal):
    """The error of every layer's output falls, and the zeros are those asked for."""
    x = torch.from_numpy(samples.images(128, 3)[0])
    with torch.no_grad():
        wanted = model.network.eval()(x)
        off = []
        for n in (0, 256):
            made = replace(ONCE, sparsity=0.7, rebuild=n, scope="layer").apply(model, goal)
            assert sparsity(made) == pytest.approx(0.7, abs=2e-3)
            off.append(float((made.network.eval()(x) - wanted).square().mean()))
    assert off[1] < 0.7 * off[0]


def test_without_training_data_it_prunes_at_once_and_says_so(model, goal):
    made = QUICK.apply(model, unlabelled(goal))
    assert sparsity(made) == pytest.approx(0.8, abs=2e-3)
    assert made.lineage[-1].notes[0] == "at once, for gradual needs training data and epochs"


def test_iterating_goes_on_while_the_budget_allows_and_reports_the_ladder(model, goal):
    asked = replace(QUICK, when="iterative", sparsity=0.97, steps=4, epochs=8)
    free = asked.apply(model, replace(goal, budget=Budget(drop="100 pt")))
    assert sparsity(free) == pytest.approx(0.97, abs=2e-3)
    rungs = free.lineage[-1].table["rungs"]
    assert rungs[0][0] == pytest.approx(0.3)
    assert [s for s, _ in rungs] == sorted(s for s, _ in rungs)
    assert len(rungs) == 4

    tight = asked.apply(model, replace(goal, budget=Budget(drop="2 pt")))
    rungs = tight.lineage[-1].table["rungs"]
    assert right(model, goal) - rungs[-1][1] > 0.02
    assert all(right(model, goal) - score <= 0.02 for _, score in rungs[:-1])
    assert sparsity(tight) == pytest.approx(rungs[-2][0], abs=2e-3)
    assert any(note.startswith("stopped at 9") for note in tight.lineage[-1].notes)


def test_rewinding_weights_starts_each_step_from_what_came(model, goal, monkeypatch):
    """With no epochs to speak of, what is left after rewinding is as it came."""
    monkeypatch.setattr(iterative, "FIRST", 0.5)
    still = {"lr": 1e-6, "weight_decay": 0.0, "epochs": 1, "steps": 1, "sparsity": 0.5}
    free = replace(goal, budget=Budget(drop="100 pt"))
    made = {r: replace(QUICK, when="iterative", rewind=r, **still).apply(model, free)
            for r in ("weights", "rate")}  # fmt: skip
    for name in ("conv1.weight", "last.weight"):
        came = model.network.get_parameter(name)
        now = {r: m.network.get_parameter(name) for r, m in made.items()}
        alive = now["weights"] != 0
        assert torch.allclose(now["weights"][alive], came[alive], atol=1e-4)
        assert not torch.allclose(now["rate"][alive], came[alive], atol=1e-4)


def test_zeros_move_with_rigl_and_not_without(model, goal):
    start, made = (
        replace(QUICK, when=w, sparsity=0.8, epochs=e).apply(model, goal)
        for w, e in (("once", 0), ("rigl", 3))
    )
    one, two = (m.network.get_parameter("conv1.weight") != 0 for m in (start, made))
    assert int(one.sum()) == int(two.sum())
    assert not torch.equal(one, two)
    plain = replace(QUICK, when="once", sparsity=0.8, epochs=3).apply(model, goal)
    assert torch.equal(plain.network.get_parameter("conv1.weight") != 0, one)


@pytest.mark.parametrize("when", ["movement", "gates"])
def test_what_is_learned_is_better_than_chance(when, model, goal):
    how = replace(QUICK, sparsity=0.8, epochs=6, batch=32, soft=0.0)
    chance = replace(how, when="once", criterion="random", epochs=0).apply(model, goal)
    assert right(replace(how, when=when).apply(model, goal), goal) > right(chance, goal) + 0.15


def test_it_says_of_every_layer_what_is_left_and_why(model, goal):
    step = replace(ONCE, protect=("last",)).apply(model, goal).lineage[-1]
    assert step.summary.startswith("−80 % of 4,752 weights: 950 left in 3 layers")
    assert "protected: last (asked for)" in step.notes
    lines = [n for n in step.notes if n.startswith(("first:", "conv1:", "conv2:"))]
    assert len(lines) == 3
    assert all("weights left" in line and "as large as the mean" in line for line in lines)
    assert any("not time" in note for note in step.notes)
    table = step.table["layers"]
    assert table["conv1.weight"]["weights"] == 2304
    assert sum(row["left"] for row in table.values()) == 950


def test_first_last_and_small_layers_stay_where_asked(model, goal):
    made = replace(ONCE, ends=False).apply(model, goal)
    assert made.network.get_parameter("first.weight").all()
    assert made.network.get_parameter("last.weight").all()
    made = replace(ONCE, least=200).apply(model, goal)
    assert made.network.get_parameter("first.weight").all()
    assert not made.network.get_parameter("last.weight").all()
    assert "protected: first (144 weights, fewer than 200)" in made.lineage[-1].notes


def test_statistics_move_with_pruning_alone(model, goal):
    same = restored(clone(model.network), model.network, goal.data.calibrate)
    for name in ("bn1.running_mean", "bn1.running_var"):
        assert torch.allclose(same.get_buffer(name), model.network.get_buffer(name), rtol=1e-5)


def test_pruned_networks_export_and_run(model, goal, tmp_path: Path):
    made = replace(ONCE, sparsity=0.5).apply(model, goal)
    runtime = OnnxRuntime()
    artifact = runtime.export(made, goal.device, tmp_path / "model.onnx")
    x = samples.images(8, 4)[0]
    given = runtime.open(artifact, 1).run((x,))[0]
    with torch.no_grad():
        expected = made.network.eval()(torch.from_numpy(x)).numpy()
    assert np.allclose(given, expected, atol=1e-4)


def test_a_recipe_names_it():
    (made,) = read_recipe('[[pass]]\nuse = "prune.weights"\nsparsity = 0.9\npattern = "free"\n')
    assert made == Weights(sparsity=0.9)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pattern": "4:2"}, "n:m with n below m"),
        ({"pattern": "2:4", "when": "rigl"}, 'moves zeros, .* take "gradual"'),
        ({"criterion": "magnitud"}, "did you mean magnitude"),
        ({"when": "later"}, "netsuke.passes.prune.schedules: no 'later'"),
        ({"sparsity": 1.0}, "outside 0.01 … 0.999"),
        ({"scope": "all"}, "none of"),
    ],
)
def test_settings_that_make_no_sense_are_named(given: dict[str, Any], said):
    with pytest.raises(NetsukeError, match=said):
        Weights(**given)


def test_a_layer_that_would_be_emptied_is_named(goal):
    net = capture(nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 4)), torch.randn(2, 64))
    said = Weights(sparsity=0.999, scope="layer").refuse(net, goal)
    assert said == "sparsity = 0.999 would empty 1 (256 weights); take less, or protect it"
    assert Weights(sparsity=0.999, scope="layer", protect=("1",)).refuse(net, goal) is None


def test_what_is_quantized_already_is_refused(model, goal):
    for first in (Static(samples=32), Coded(scheme="kmeans4"), Coded(scheme="int4")):
        made = first.apply(model, goal)
        assert QUICK.refuse(made, goal) == "its weights are quantized already; prune before"


def test_labels_are_asked_for_where_a_criterion_needs_them(model, goal):
    asked = replace(ONCE, criterion="taylor")
    assert "needs training data with labels" in (asked.refuse(model, unlabelled(goal)) or "")
    with pytest.raises(NetsukeError, match="needs training data with labels"):
        asked.apply(model, unlabelled(goal))


def test_nothing_to_prune_is_refused_with_reasons(model, goal):
    every = ("first", "conv1", "conv2", "last")
    said = replace(QUICK, protect=every).refuse(model, goal)
    assert said == "no weight can leave: protected: first (asked for); protected: conv1 (asked for); protected: conv2 (asked for)"  # fmt: skip


def test_a_weight_that_two_layers_share_is_pruned_once(goal):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 4)
            self.two.weight = self.one.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.two(torch.relu(self.one(x.flatten(1))))))

    torch.manual_seed(0)
    made = ONCE.apply(capture(Twice(), torch.randn(2, 1, 8, 8)), goal)
    table = made.lineage[-1].table["layers"]
    assert sum(row["weights"] for row in table.values()) == 64 * 64 + 4 * 64
    weights = [made.network.get_parameter(f"{n}.weight") for n in ("one", "two")]
    assert torch.equal(*weights)
    assert float((weights[0] == 0).float().mean()) > 0.7


def test_a_name_that_is_no_layer_is_an_error(model, goal):
    with pytest.raises(NetsukeError, match=r"protect: no layer 'conv3'; did you mean conv2, conv1"):
        replace(QUICK, protect=("conv3",)).refuse(model, goal)


def test_weights_that_are_not_numbers_are_named(model, goal):
    network = clone(model.network)
    broken = network.get_parameter("conv1.weight").detach().clone()
    broken[0, 0, 0, 0] = torch.nan
    set_tensor(network, "conv1.weight", broken)
    with pytest.raises(NetsukeError, match=r"conv1\.weight: the weight holds NaN"):
        ONCE.apply(replace(model, network=network), goal)


def test_calibration_that_is_not_finite_is_named(model, goal):
    x, y = samples.images(64)
    x[3] = np.inf
    broken = replace(goal, data=ready(Task(calibrate=x, validate=(x, y))))
    with pytest.raises(NetsukeError, match="NaN or infinite"):
        ONCE.apply(model, broken)


def test_a_rate_that_breaks_the_loss_is_an_error_not_a_dense_network(model, goal):
    with pytest.raises(
        NetsukeError, match="before the network was what was asked for; take a rate"
    ):
        replace(QUICK, lr=10.0, temperature=100.0, batch=8, epochs=3).apply(
            replace(model, network=_exploding(model)), goal
        )


def _exploding(model: Model) -> Any:
    """Weights so large that the first loss overflows."""
    network = clone(model.network)
    for name in ("first.weight", "last.weight"):
        set_tensor(network, name, network.get_parameter(name).detach() * 1e30)
    return network
