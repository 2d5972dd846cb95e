"""Zeros stay zeros: pruned, then anything else the project does to a network."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.nets import graph
from netsuke.nets.capture import capture
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizers.lookup import codebook
from netsuke.nets.quantizers.roles import WEIGHTED, op
from netsuke.nets.save import load, save
from netsuke.nets.sparse.zeros import Zeros
from netsuke.nets.training.train import TrainPlan, recalibrate, retrain
from netsuke.nets.training.way import Way
from netsuke.passes.prune.channels import Channels
from netsuke.passes.prune.weights import Weights as Prune
from netsuke.passes.quantize.codebook import Codebook
from netsuke.passes.quantize.equalize import Equalize
from netsuke.passes.quantize.floats import Floats
from netsuke.passes.quantize.mixed import Mixed
from netsuke.passes.quantize.nested import Nested
from netsuke.passes.quantize.qat import Qat
from netsuke.passes.quantize.static import Static
from netsuke.passes.quantize.weights import Weights
from netsuke.testing import samples

PLAN = TrainPlan(epochs=2, lr=0.1, batch=32, precision="float32")
LAST = Way(counts=lambda progress: False)
"""The last epoch is kept whatever its score."""


@cache
def goal() -> Goal:
    return samples.goal("pi4")


@cache
def pruned() -> Model:
    return Prune(sparsity=0.6, when="once", epochs=0).apply(samples.network(), goal())


def weights(model: Model) -> dict[str, Tensor]:
    """What each layer multiplies by, after whatever quantizes it, by the node's name."""
    values = graph.values(model.network, model.example)
    nodes = [n for n in model.network.graph.nodes if op(n) in WEIGHTED]
    return {n.name: values[n.args[1].name] for n in nodes}


def revived(before: Model, after: Model) -> int:
    """How many weights that were zero are no longer."""
    found, count = weights(after), 0
    for name, weight in weights(before).items():
        assert (weight == 0).any()
        count += int((found[name][weight == 0] != 0).sum())
    return count


PASSES = [
    *(Static(rounding=r, weights=4) for r in ("nearest", "gptq", "adaround")),
    Static(rounding="gptq", correct="norm"),
    Static(steps="power_of_two", zero="centre"),
    *(Weights(scheme=s) for s in ("int4", "int8", "uint8", "uint4", "q8", "fp16", "bf16")),
    *(Weights(scheme=s) for s in ("e4m3", "e5m2", "nf4", "log4", "kmeans3", "kmeans3c")),
    Floats(),
    Qat(weights=3, activations=4, epochs=2, batch=32, lr=0.1),
    Nested(epochs=1, batch=32),
    Mixed(),
    Codebook(bits=3, epochs=2, batch=32, lr=0.1),
    Equalize(),
    Channels(ratio=0.1, cost="macs", epochs=2, batch=32, lr=0.1, protect=("first", "conv1", "conv2", "last")),
]  # fmt: skip


def named(made: Pass) -> str:
    changed = [str(v) for f, v in made.settings().items() if v != getattr(type(made)(), f)]
    return " ".join((made.name, *changed))


@pytest.mark.parametrize("made", PASSES[:-1], ids=named)
def test_a_pass_brings_no_pruned_weight_back(made: Pass):
    assert made.refuse(pruned(), goal()) is None
    assert revived(pruned(), made.apply(pruned(), goal())) == 0


def test_what_is_cut_takes_its_zeros_along_and_the_rest_keeps_them():
    made = {n: Channels(ratio=0.3, cost="macs", epochs=n, batch=32, lr=0.1) for n in (0, 2)}
    cut, trained = (made[n].apply(pruned(), goal()) for n in (0, 2))
    assert revived(cut, trained) == 0
    assert sum(w.numel() for w in weights(cut).values()) < sum(
        w.numel() for w in weights(pruned()).values()
    )


@pytest.mark.parametrize(
    "changed",
    [
        lambda n: retrain(n, (), goal(), PLAN, LAST).network,
        lambda n: retrain(n, (n,), goal(), PLAN, LAST).network,
        lambda n: recalibrate(n, goal().data.calibrate),
        fold_batchnorm,
    ],
    ids=["labels", "teacher", "recalibrate", "fold"],
)
def test_training_and_folding_bring_none_back(changed: Callable):
    after = Model(network=changed(pruned().network), example=pruned().example)
    assert revived(pruned(), after) == 0


def test_without_the_mechanism_training_would_revive_them(monkeypatch):
    """The test above can fail."""
    monkeypatch.setattr(Zeros, "hold", lambda *_: None)
    monkeypatch.setattr(Zeros, "silence", lambda *_: None)
    after = Model(network=retrain(pruned().network, (), goal(), PLAN, LAST).network, example=pruned().example)  # fmt: skip
    assert revived(pruned(), after) > 0


def test_the_rest_learns_all_the_same():
    before = pruned().network
    after = retrain(before, (), goal(), PLAN, LAST).network
    for name, weight in before.named_parameters():
        alive = weight.detach() != 0
        assert not torch.equal(after.get_parameter(name)[alive], weight[alive])


def test_pruned_again_the_zeros_only_grow():
    again = Prune(sparsity=0.8, epochs=2, batch=32, when="gradual").apply(pruned(), goal())
    assert revived(pruned(), again) == 0
    more = [int((w == 0).sum()) for w in weights(again).values()]
    assert sum(more) > sum(int((w == 0).sum()) for w in weights(pruned()).values())


@pytest.mark.parametrize("when", ["rigl", "movement", "gates"])
def test_schedules_that_move_zeros_leave_those_that_came(when):
    again = Prune(sparsity=0.8, epochs=2, batch=32, when=when).apply(pruned(), goal())
    assert revived(pruned(), again) == 0


def test_a_weight_of_zeros_alone_and_one_without_are_free_to_train():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    nn.init.zeros_(net[1].weight)
    assert Zeros.of(capture(net, torch.randn(2, 4)).network).kept == {}


def test_a_bias_may_be_zero_and_train():
    net = nn.Linear(4, 4)
    nn.init.zeros_(net.bias)
    assert Zeros.of(net).kept == {}


def test_folding_writes_no_negative_zeros():
    folded = fold_batchnorm(pruned().network)
    for name, weight in folded.named_parameters():
        assert not torch.signbit(weight[weight == 0]).any(), name


def test_zeros_are_saved_and_read(tmp_path):
    save(pruned(), tmp_path)
    assert revived(pruned(), load(tmp_path)) == 0


@pytest.mark.parametrize("bits", [2, 4])
def test_a_codebook_of_pruned_weights_has_one_level_at_zero(bits):
    draw = torch.Generator().manual_seed(0)
    values = torch.randn(1000, generator=draw, dtype=torch.float64)
    values[torch.rand(1000, generator=draw) < 0.9] = 0
    levels = codebook(values, bits)
    assert (len(levels), int((levels == 0).sum())) == (2**bits, 1)
    alive = values[values != 0]
    plain = codebook(alive, bits)
    off = (alive[:, None] - levels).abs().amin(1).square().mean()
    assert off < 2.5 * (alive[:, None] - plain).abs().amin(1).square().mean()
