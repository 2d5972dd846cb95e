"""quantize.codebook: weights clustered, and the clusters trained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.nets import graph
from netsuke.nets.evaluation import evaluate
from netsuke.nets.quantizers.lookup import lookups, read
from netsuke.nets.quantizers.roles import WEIGHTED, op
from netsuke.nets.quantizers.ties import Ties
from netsuke.packer import pack, unpack
from netsuke.passes.prune.weights import Weights as Prune
from netsuke.passes.quantize.codebook import Codebook
from netsuke.passes.quantize.weights import Weights
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.testing import samples
from netsuke.testing.passes import PassConformance

SHORT = Codebook(bits=2, epochs=4, batch=32, lr=0.05)


class TestCodebook(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return replace(SHORT, epochs=1)


@pytest.fixture(scope="module")
def pruned(model: Model, goal: Goal) -> Model:
    return Prune(sparsity=0.6, when="once", epochs=0).apply(model, goal)


def right(model: Model, goal: Goal) -> float:
    return evaluate(model.network, goal.data.validate, goal.data.metric)


def weights(model: Model) -> dict[str, Tensor]:
    """What each layer multiplies by."""
    values = graph.values(model.network, model.example)
    nodes = [n for n in model.network.graph.nodes if op(n) in WEIGHTED]
    return {n.name: values[n.args[1].name] for n in nodes}


def test_every_weight_has_as_many_values_as_its_codebook(pruned, goal):
    for epochs in (0, 4):
        made = replace(SHORT, epochs=epochs).apply(pruned, goal)
        assert all(len(w.unique()) <= 4 for w in weights(made).values())


def test_training_moves_levels_and_keeps_who_shares_them(pruned, goal):
    still, made = (replace(SHORT, epochs=e).apply(pruned, goal) for e in (0, 4))
    assert made.lineage[-1].notes[0].startswith("levels trained 4 epochs: accuracy on validate")
    after = weights(made)
    for name, before in weights(still).items():
        for level in before.unique():
            assert len(after[name][before == level].unique()) == 1
        assert torch.equal(after[name] == 0, before == 0)
    assert not all(torch.equal(after[n], w) for n, w in weights(still).items())


def test_training_the_levels_wins_back_what_clustering_lost(pruned, goal):
    still, made = (replace(SHORT, epochs=e).apply(pruned, goal) for e in (0, 6))
    assert right(made, goal) > right(still, goal)


def test_clusters_that_a_model_comes_with_are_kept(pruned, goal):
    came = Weights(scheme="kmeans3").apply(pruned, goal)
    made = SHORT.apply(came, goal)
    before, after = weights(came), weights(made)
    for name, weight in before.items():
        assert len(after[name].unique()) == len(weight.unique())
        for level in weight.unique():
            assert len(after[name][weight == level].unique()) == 1


def test_a_step_is_that_of_gradient_descent_on_the_levels(pruned, goal):
    """The mean gradient of a cluster, given to each of its values, is the gradient of the loss by the
    level over the number of values that have it."""
    coded = Codebook(bits=2, epochs=0).apply(pruned, goal).network
    ties = Ties(coded)
    plain = ties.loosened(coded).eval()
    x = torch.from_numpy(samples.images(32)[0])
    plain(x).square().sum().backward()
    ties.gather(plain, 0.0)
    weight = plain.get_parameter("conv1.weight")
    level = float(weight.detach()[weight != 0].flatten()[0])
    mask = (weight == level).float()
    base, shift = weight.detach().clone(), torch.zeros((), requires_grad=True)
    state = {**dict(plain.named_parameters()), "conv1.weight": base + shift * mask}
    torch.func.functional_call(plain, state, (x,)).square().sum().backward()
    given = weight.grad[mask.bool()]
    assert torch.allclose(given, given[0].expand_as(given))
    assert float(given[0]) == pytest.approx(float(shift.grad / mask.sum()), rel=1e-3)


def test_levels_stay_ascending_with_one_at_zero(pruned, goal):
    made = SHORT.apply(pruned, goal).network
    for t in lookups(made):
        levels = read(made, t.key).levels
        assert (levels.diff() >= 0).all()
        assert int((levels == 0).sum()) == 1


def test_it_exports_runs_and_packs_to_the_bit(pruned, goal, tmp_path: Path):
    made, runtime = SHORT.apply(pruned, goal), OnnxRuntime()
    artifact = runtime.export(made, goal.device, tmp_path / "model.onnx")
    x = samples.images(8, 4)[0]
    with torch.no_grad():
        expected = made.network.eval()(torch.from_numpy(x)).numpy()
    assert np.allclose(runtime.open(artifact, 1).run((x,))[0], expected, atol=1e-4)
    pack(artifact.path, tmp_path / "model.nsk")
    unpack(tmp_path / "model.nsk", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == artifact.path.read_bytes()


def test_without_training_data_weights_are_clustered_only(model, goal):
    made = SHORT.apply(model, replace(goal, data=replace(goal.data, train=None)))
    assert made.lineage[-1].notes == ("not trained: no training data or no epochs",)
    assert all(len(w.unique()) == 4 for w in weights(made).values())


def test_tables_that_cannot_learn_and_what_is_coded_already_are_refused(model, goal):
    coded = Weights(scheme="nf4").apply(model, goal)
    assert SHORT.refuse(coded, goal) == "its tables are no codebooks that can learn"
    coded = Weights(scheme="int4").apply(model, goal)
    assert "not coded already" in (SHORT.refuse(coded, goal) or "")


def test_weights_that_are_not_numbers_are_named(model, goal):
    network = graph.clone(model.network)
    broken = network.get_parameter("conv1.weight").detach() * torch.nan
    graph.set_tensor(network, "conv1.weight", broken)
    with pytest.raises(NetsukeError, match=r"conv1\.weight: the weight holds NaN"):
        SHORT.apply(replace(model, network=network), goal)
