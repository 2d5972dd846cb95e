"""prune.channels: what leaves, what it says, what it refuses."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import ResNet, captured, lively
from netsuke.core.budget import Budget
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.recipe import make_pass
from netsuke.core.task import Task, ready
from netsuke.nets.capture import capture
from netsuke.nets.channels.groups import groups
from netsuke.nets.channels.rehearsal import Rehearsal, parts
from netsuke.nets.costs import layers, totals
from netsuke.nets.graph import op, shapes, tensor_of
from netsuke.nets.onnx_out import export_onnx
from netsuke.passes.prune.channels import Channels
from netsuke.passes.prune.criteria.magnitude import Magnitude
from netsuke.passes.prune.criteria.taylor import Taylor
from netsuke.passes.prune.ladders import Ladders
from netsuke.passes.prune.prices import Prices
from netsuke.passes.prune.stages import Watch, ramp, shared_out
from netsuke.passes.quantize.weights import Weights

DEVICE = Device(
    name="toy", title="toy", memory=1e9, storage=1e9, cores=1, kernel_width=8,
    formats={"fp32": 1e10, "int8": 3e10}, bandwidth=1e10, overhead=1e-6,
)  # fmt: skip


def images(count: int, side: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright channel; the class says which."""
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 3, count)
    x = draw.normal(size=(count, 3, side, side)).astype(np.float32)
    x[np.arange(count), y] += 1
    return x, y


@cache
def small() -> Model:
    torch.manual_seed(0)
    return capture(lively(ResNet(blocks=2, width=16, classes=3)), torch.randn(2, 3, 8, 8))


def goal(device: Device = DEVICE, seed: int = 0, **more: Any) -> Goal:
    task = Task(calibrate=images(64)[0], validate=images(48, seed=1), **more.pop("task", {}))
    return Goal(data=ready(task, seed), device=device, seed=seed, **more)


def trainable() -> dict[str, Any]:
    return {"task": {"train": images(96, seed=2)}}


def left(model: Model, made: Model, what: str) -> float:
    before, after = (getattr(totals(layers(m)), what) for m in (model, made))
    return after / before


@pytest.mark.parametrize("criterion", ["taylor", "magnitude"])
@pytest.mark.parametrize(("cost", "what"), [("macs", "macs"), ("parameters", "weights")])
def test_as_much_leaves_as_is_asked_for(cost: str, what: str, criterion: str):
    made = Channels(ratio=0.4, cost=cost, criterion=criterion, epochs=0).apply(small(), goal())
    assert 0.5 < left(small(), made, what) <= 0.6


def test_two_costs_can_be_asked_for_at_once():
    made = Channels(ratio=0.2, cost="macs", parameters=0.6).apply(small(), goal())
    assert left(small(), made, "macs") <= 0.8
    assert left(small(), made, "weights") <= 0.4


def test_widths_are_what_the_kernels_like():
    made = Channels(ratio=0.5, cost="macs", epochs=0, branches=False).apply(small(), goal())
    widths = {
        tensor_of(made.network, n.args[1]).shape[0]
        for n in made.network.graph.nodes
        if op(n) == "conv2d"
    }
    assert all(width % 4 == 0 for width in widths)
    assert all(width % 8 == 0 for width in widths if width > 8)


def test_a_ladder_goes_by_kernel_widths_and_then_by_half_of_one():
    known = groups(captured("resnet"))
    whole = tuple(g.units for g in known)
    ids = {g.name: g.id for g in known}
    ladders = Ladders(known, 16)
    assert list(ladders.below(whole, ids["layer3.1.conv1"])) == [48, 32, 16, 8]
    assert list(ladders.below(whole, ids["layer1.0.conv1"])) == [8]
    # the stage has 32 channels, 16 of them the group's own: 16 left is none of these
    assert list(ladders.below(whole, ids["layer2.0.conv2"])) == [0]


def test_prices_are_those_of_the_network_once_cut():
    model, device = small(), DEVICE
    known = parts(model)
    for cost, what in (("macs", "macs"), ("parameters", "weights")):
        price = Prices(model, known.groups, device, cost)
        assert price({}, ()) == getattr(totals(layers(model)), what)
    keep = {1: range(8)}
    from netsuke.nets.channels.surgery import cut

    made = replace(model, network=cut(model, keep, known.groups))
    assert Prices(model, known.groups, device, "macs")(keep, ()) == totals(layers(made)).macs


def test_a_table_of_kernels_prices_what_it_has():
    model, known = small(), groups(small())
    plain, none, table = (
        Prices(model, known, DEVICE, "seconds", kernels)({}, ())
        for kernels in (None, lambda _: None, lambda layer: 1.0 if layer.op == "conv2d" else None)
    )
    assert plain == none
    convolutions = sum(op(n) == "conv2d" for n in model.network.graph.nodes)
    assert convolutions < table < convolutions + plain


@pytest.mark.parametrize("heads", ["whole", "narrower"])
def test_heads_leave_whole_or_all_get_narrower(heads: str):
    model = captured("encoder")
    ids = np.random.default_rng(0).integers(0, 50, (64, 12))
    data = ready(Task(calibrate=ids, validate=(ids, np.zeros(64, np.int64))))
    wanted = Channels(ratio=0.5, cost="macs", scope="local", epochs=0, heads=heads)
    made = wanted.apply(model, Goal(data=data, device=DEVICE)).network
    known = shapes(made, (torch.from_numpy(ids[:2]),))
    attention = next(n for n in made.graph.nodes if op(n) == "scaled_dot_product_attention")
    _, count, _, width = known[attention.all_input_nodes[0].name]
    assert (count < 4, width < 8) == (heads == "whole", heads == "narrower")


def test_damage_is_how_far_the_outputs_move():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(1.0)
    model = capture(net.eval(), torch.randn(2, 6))
    x = np.ones((32, 6), np.float32)
    task = Task(validate=(x, np.zeros(32, np.float32)), metric="mae")
    rehearsal = Rehearsal(model, parts(model), Goal(data=ready(task), device=DEVICE))
    # each hidden unit adds 7 to the output
    assert [rehearsal.damage({0: range(n)}, ()) for n in (8, 7, 5, 8)] == [0, 49, 441, 0]


def test_a_rough_rehearsal_is_one_on_fewer_samples():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    model = capture(net.eval(), torch.randn(2, 6))
    x = np.random.default_rng(0).standard_normal((100, 6)).astype(np.float32)

    def rehearsed(samples: np.ndarray) -> Rehearsal:
        task = Task(
            validate=(samples, np.zeros(len(samples), np.float32)), calibrate=samples, metric="mae"
        )
        return Rehearsal(model, parts(model), Goal(data=ready(task), device=DEVICE))

    whole = rehearsed(x)
    keep = {0: range(3)}
    assert whole.rough(0.4).damage(keep, ()) == pytest.approx(rehearsed(x[:40]).damage(keep, ()))
    assert whole.rough(0.01).damage(keep, ()) == pytest.approx(rehearsed(x[:16]).damage(keep, ()))
    assert whole.rough(1).damage(keep, ()) == whole.damage(keep, ())


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(4, 4, bias=False), nn.Linear(4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + F.relu(self.inner(x)))


def test_a_silent_branch_is_damage():
    net = Residual()
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(1.0)
    model = capture(net.eval(), torch.randn(2, 4))
    task = Task(validate=(np.ones((8, 4), np.float32), np.zeros(8, np.float32)), metric="mae")
    known = parts(model)
    rehearsal = Rehearsal(model, known, Goal(data=ready(task), device=DEVICE))
    # 4 · (1 + 4) with the branch, 4 without
    assert [rehearsal.damage({}, leaving) for leaving in ((), known.branches)] == [0, 256]


def test_units_that_do_nothing_are_the_least_important():
    model = small()
    known = groups(model)
    (group,) = [g for g in known if g.name == "layer1.0.conv1"]
    from netsuke.nets.graph import clone

    network = clone(model.network)
    with torch.no_grad():
        tensor_of(network, "layer1.0.conv2.weight")[:, [3, 11]] = 0
    dead = replace(model, network=network)
    for criterion in (Taylor(), Magnitude()):
        scores = criterion.score(dead, known, goal())[group.id]
        assert max(scores[3], scores[11]) < np.quantile(scores, 0.3)


def test_time_is_measured_until_it_fits():
    """A clock that is half as impressed as the prediction."""
    asked: list[float] = []

    def clock(model: Model) -> float:
        macs = totals(layers(model)).macs / totals(layers(small())).macs
        asked.append(0.5 + 0.5 * macs)
        return asked[-1]

    made = Channels(ratio=0.3, epochs=0).apply(small(), goal(clock=clock))
    assert 3 <= len(asked) <= 5
    assert asked[0] == 1.0
    assert 0.5 < asked[-1] <= 0.7 * 1.03
    assert f"{100 * asked[-1]:.0f} % of the time is left by the clock" in made.lineage[-1].notes[0]


def test_without_a_clock_time_is_predicted():
    made = Channels(ratio=0.3, epochs=0).apply(small(), goal())
    assert "(predicted)" in made.lineage[-1].notes[0]


def test_retraining_mends_with_the_original_as_teacher():
    model, wish = small(), goal(**trainable())
    made = Channels(ratio=0.4, cost="macs", epochs=2, lr=0.05, batch=16).apply(model, wish)
    said = " ".join(made.lineage[-1].notes)
    assert "retrained" in said
    assert "not retrained" not in said


def test_without_training_data_it_says_so():
    made = Channels(ratio=0.3, cost="macs", epochs=2).apply(small(), goal())
    assert "not retrained: the task has no training data" in made.lineage[-1].notes


def test_the_step_says_what_changed_and_what_is_protected():
    made = Channels(ratio=0.5, cost="macs", epochs=0).apply(small(), goal())
    step = made.lineage[-1]
    gone = 1 - left(small(), made, "macs")
    assert step.summary.startswith(f"−{100 * gone:.0f} % of macs, −")
    assert "protected: linear (it is an output of the network)" in step.notes
    changed = dict(n.split(": ", 1) for n in step.notes if "→" in n)
    for layer, words in changed.items():
        now = tensor_of(made.network, f"{layer}.weight").shape[0]
        assert f"→ {now} channels, " in words
    own = [w for w in changed.values() if ", those with the flattest slopes of the loss (" in w]
    assert own
    assert all("that alone is −" in w for w in own)


def test_the_layers_of_a_group_name_the_one_with_the_reason():
    made = Channels(ratio=0.5, cost="macs", epochs=0, branches=False).apply(small(), goal())
    changed = dict(n.split(": ", 1) for n in made.lineage[-1].notes if "→" in n)
    assert changed["layer1.1.conv2"].endswith("channels, as conv1")


def test_what_the_user_protects_stays():
    plugin = Channels(ratio=0.3, cost="macs", epochs=0, protect=("layer1", "layer2.0.conv1"))
    made = plugin.apply(small(), goal())
    for name in ("layer1.0.conv1", "layer1.1.conv2", "layer2.0.conv1"):
        before, after = (tensor_of(m.network, f"{name}.weight") for m in (small(), made))
        assert after.shape == before.shape
    assert "protected: layer1 (asked for)" in made.lineage[-1].notes


def test_a_name_to_protect_that_is_no_layer_is_an_error():
    with pytest.raises(
        NetsukeError, match=r"no layer 'layer1\.0\.konv1'; did you mean layer1\.0\.conv1"
    ):
        Channels(protect=("layer1.0.konv1",)).refuse(small(), goal())


def test_branches_leave_only_when_allowed():
    heavy = replace(DEVICE, overhead=1e-3)  # where nodes cost more than channels
    made = Channels(ratio=0.4, epochs=0).apply(small(), goal(heavy))
    assert "without layer" in made.lineage[-1].summary
    kept = Channels(ratio=0.4, cost="macs", epochs=0, branches=False).apply(small(), goal())
    assert sum(op(n) == "add" for n in kept.network.graph.nodes) == 6


class Locked(nn.Module):
    """Softmax over the only hidden width."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.norm, self.end = nn.Linear(6, 8), nn.Softmax(-1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(F.relu(self.norm(self.start(x))))


def test_a_network_with_nothing_to_prune_is_refused_with_the_reason():
    model = capture(Locked().eval(), torch.randn(2, 6))
    task = Task(validate=(np.zeros((8, 6), np.float32), np.zeros(8, int)))
    reason = Channels().refuse(model, Goal(data=ready(task), device=DEVICE))
    assert reason is not None
    assert reason.startswith(
        "no channel can leave: protected: start (softmax at norm (test_channels.py:"
    )


def test_a_ratio_that_would_empty_a_layer_is_refused_with_the_most():
    plugin = Channels(ratio=0.95, cost="macs", branches=False, protect=("layer1",))
    reason = plugin.refuse(small(), goal())
    assert reason is not None
    assert reason.startswith("ratio = 0.95 would empty a layer: at most ")
    most = float(reason.split("at most ")[1].split(" %")[0]) / 100
    assert replace(plugin, ratio=most - 0.01).refuse(small(), goal()) is None
    assert (
        left(small(), replace(plugin, ratio=most - 0.01, epochs=0).apply(small(), goal()), "macs")
        < 1.01 - most
    )


@pytest.mark.parametrize("scope", ["global", "local"])
def test_bytes_are_predicted_and_the_file_is_measured(scope: str):
    plugin = Channels(ratio=0.5, cost="bytes", epochs=0, scope=scope)
    made = plugin.apply(small(), goal())
    before, after = (len(export_onnx(m).content) for m in (small(), made))
    assert after < 0.55 * before
    notes = made.lineage[-1].notes
    assert "% of the bytes is left (predicted)" in notes[0]
    assert any(n.startswith(f"the exported file has {after:,} bytes of {before:,}") for n in notes)


def test_bytes_follow_the_bits_of_the_weights():
    model = Weights(scheme="int8").apply(small(), goal())
    known = groups(model)
    price = Prices(model, known, DEVICE, "bytes")({}, ())
    floats = Prices(small(), groups(small()), DEVICE, "bytes")({}, ())
    assert 0.24 < price / floats < 0.3


def test_a_local_budget_takes_the_same_share_of_every_layer():
    made = Channels(ratio=0.4, cost="macs", scope="local", epochs=0).apply(small(), goal())
    assert 0.45 < left(small(), made, "macs") <= 0.6
    assert "without" not in made.lineage[-1].summary
    shares = []
    for group in groups(small()):
        name = f"{group.name}.weight"
        before, after = (tensor_of(m.network, name).shape[0] for m in (small(), made))
        if before >= 32:
            shares.append(after / before)
    assert max(shares) - min(shares) <= 0.25


def test_a_local_ratio_that_would_empty_a_layer_is_refused():
    plugin = Channels(ratio=0.95, cost="macs", scope="local", protect=("layer1",))
    reason = plugin.refuse(small(), goal())
    assert reason is not None
    assert reason.startswith("ratio = 0.95 would empty a layer: at most ")


def distance(made: Model) -> float:
    """Of the outputs on new samples to the original's."""
    x = torch.from_numpy(images(64, seed=5)[0])
    with torch.no_grad():
        given, wanted = (m.network.eval()(x) for m in (made, small()))
    return float((given - wanted).square().mean())


def test_reconstruction_brings_the_outputs_nearer_without_labels():
    plugin = Channels(ratio=0.4, cost="macs", epochs=0, branches=False)
    rich = replace(goal(), data=replace(goal().data, calibrate=many()))
    bare, fitted = (replace(plugin, reconstruct=r).apply(small(), rich) for r in (False, True))
    assert distance(fitted) < 0.7 * distance(bare)
    assert any("reconstructed by least squares" in n for n in fitted.lineage[-1].notes)
    shapes = [{k: v.shape for k, v in m.network.state_dict().items()} for m in (bare, fitted)]
    assert shapes[0] == shapes[1]


def many() -> Any:
    """Enough samples for least squares."""
    return ready(Task(calibrate=images(400, seed=3)[0], validate=images(48, seed=1))).calibrate


def test_several_steps_share_the_epochs_and_reach_the_ratio():
    plugin = Channels(ratio=0.5, cost="macs", epochs=3, steps=2, batch=32)
    made = plugin.apply(small(), goal(budget=Budget(drop=1.0), **trainable()))
    notes = made.lineage[-1].notes
    assert left(small(), made, "macs") <= 0.5
    retrained = [n for n in notes if n.startswith("retrained")]
    assert [n.split()[1] for n in retrained] == ["1", "2"]
    assert [n[:21] for n in notes if "points lost" in n] == [
        "30 % of the macs gone",
        "50 % of the macs gone",
    ]


def test_steps_stop_where_too_much_is_lost_and_go_back():
    """The second step loses all there is: a criterion of validation that counts the widths."""
    plugin = Channels(ratio=0.9, cost="macs", epochs=0, steps=4, reconstruct=False, branches=False)
    wish = goal(budget=Budget(drop="1 pt"))
    whole = totals(layers(small())).macs

    class Falling(Watch):
        def lost(self, network: Any) -> float:
            share = totals(layers(replace(small(), network=network))).macs / whole
            return 0.0 if share > 0.4 else 0.2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("netsuke.passes.prune.channels.Watch", Falling)
        made = plugin.apply(small(), wish)
    assert 0.4 < left(small(), made, "macs") <= 0.7
    (stop,) = [n for n in made.lineage[-1].notes if n.startswith("stopped")]
    assert stop == (
        "stopped and went back a step: 70 % of the macs gone: +20.00 points lost on validate, 1 allowed"
    )


def test_the_ramp_begins_with_thirty_percent():
    assert ramp(0.6, 3) == pytest.approx((0.3, 0.45, 0.6))
    assert ramp(0.2, 2) == pytest.approx((0.1, 0.2))
    assert ramp(0.5, 1) == (0.5,)
    assert shared_out(7, 3) == (2, 2, 3)


def test_remedies_are_smaller_ratios_then_more_training():
    first = Channels(ratio=0.3, epochs=4)
    assert first.remedies() == (
        replace(first, ratio=0.2), replace(first, ratio=0.1), replace(first, epochs=8),
    )  # fmt: skip
    assert Channels(ratio=0.1, epochs=0).remedies() == ()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ratio": 0.99}, "ratio"),
        ({"cost": "watts"}, "cost"),
        ({"criterion": "tailor"}, "did you mean taylor"),
        ({"epochs": -1}, "epochs"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str):
    with pytest.raises(NetsukeError, match=words):
        make_pass("prune.channels", settings)


@pytest.mark.parametrize("name", ["mobilenet", "densenet", "encoder"])
def test_other_families_get_smaller_too(name: str):
    model = captured(name)
    (example,) = model.example
    x = np.repeat(example.numpy(), 8, axis=0)
    task = Task(calibrate=x, validate=(x, np.zeros(len(x), int)))
    made = Channels(ratio=0.2, cost="macs", epochs=0).apply(
        model, Goal(data=ready(task), device=DEVICE)
    )
    assert left(model, made, "macs") <= 0.8


def test_the_same_seed_gives_the_same_network():
    plugin = Channels(ratio=0.4, cost="macs", epochs=1, batch=32)
    one, two = (plugin.apply(small(), goal(seed=3, **trainable())).network for _ in range(2))
    assert one.code == two.code
    assert all(torch.equal(v, two.state_dict()[k]) for k, v in one.state_dict().items())


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_channels_leave_by_the_activations_that_are_in_memory_at_once(
    model: Model, goal: Goal, ratio: float
) -> None:
    narrower = Channels(ratio=ratio, cost="activations", epochs=0).apply(model, goal)
    before, after = (max(layer.alive for layer in layers(m)) for m in (model, narrower))
    assert after <= (1 - ratio) * before
    assert "activations" in narrower.lineage[-1].summary
