"""Post-training INT8 as a pass."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from models import example
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.core.scheme import Uniform
from netsuke.core.task import Task, ready
from netsuke.devices import device
from netsuke.nets.capture import capture
from netsuke.nets.costs import layers
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.onnx_out import export_onnx
from netsuke.nets.quantizers.place import is_quantized
from netsuke.nets.quantizers.quantizer import BIAS_LIMIT, quantizers, read
from netsuke.nets.quantizers.rounding.reconstruct import Rounding
from netsuke.passes.quantize.static import Static, Zero
from netsuke.testing import samples
from netsuke.testing.passes import PassConformance


class TestStatic(PassConformance):
    @pytest.fixture
    def plugin(self) -> Pass:
        return Static()


def right(model: Model) -> float:
    x, y = samples.images(512, 9)
    with torch.no_grad():
        return float((model.network.eval()(torch.from_numpy(x)).argmax(1).numpy() == y).mean())


@pytest.mark.parametrize("estimator", ["mse", "average", "percentile", "minmax"])
def test_int8_keeps_the_accuracy(model: Model, goal: Goal, estimator: str) -> None:
    carved = Static(estimator=estimator).apply(model, goal)  # type: ignore[arg-type]
    assert is_quantized(carved.network)
    assert right(carved) >= right(model) - 0.01


def test_it_says_what_it_did(model: Model, goal: Goal) -> None:
    step = Static(samples=100).apply(model, goal).lineage[-1]
    assert step.summary == "W8A8: 3 conv2d, 1 linear"
    assert step.notes == ("ranges: mse on 100 samples",)


def test_layers_have_their_true_bits(model: Model, goal: Goal) -> None:
    found = {x.name: x for x in layers(Static(weights=4).apply(model, goal))}
    assert (found["conv1"].weight_bits, found["conv1"].activation_bits) == (4, 8)


def test_what_stays_float_is_named(goal: Goal) -> None:
    module, (ids,) = example("encoder")
    encoder = capture(module, (ids,))
    rows = (np.random.default_rng(0).integers(0, 50, (40, 12)), np.zeros(40, np.int64))
    goal = replace(goal, data=ready(Task(train=rows)))
    notes = Static().apply(encoder, goal).lineage[-1].notes
    assert [n for n in notes if n.startswith("float: layers.0 (models.py:")]


def test_all_samples_are_used_up_to_the_limit(model: Model, goal: Goal) -> None:
    seen: list[int] = []

    class Watching:
        def __call__(self, items, label):  # type: ignore[no-untyped-def]
            for inputs in items:
                seen.append(len(inputs[0]))
                yield inputs

    Static(samples=70).apply(model, replace(goal, track=Watching()))
    assert sum(seen) == 70


def test_a_loader_that_cannot_be_read_by_index_will_do(model: Model, goal: Goal) -> None:
    class Loader:
        def __iter__(self):  # type: ignore[no-untyped-def]
            return (samples.images(20, seed)[0] for seed in range(5))

    data = ready(replace(samples.task(), calibrate=Loader()))
    step = Static(samples=50).apply(model, replace(goal, data=data)).lineage[-1]
    assert step.notes == ("ranges: mse on 50 samples",)


def test_it_refuses_what_it_cannot_help(model: Model, goal: Goal) -> None:
    assert Static().refuse(Static().apply(model, goal), goal) == "the model is quantized already"
    activation = capture(nn.ReLU(), (torch.randn(2, 4),))
    assert "no operation has an integer kernel" in str(Static().refuse(activation, goal))
    float_only = replace(device("pi4"), formats={"fp32": 1e9})
    assert "INT8" in str(Static().refuse(model, replace(goal, device=float_only)))


def test_remedies_are_the_other_estimators_then_dearer_methods() -> None:
    tried = [r.settings() for r in Static(samples=64).remedies()]
    assert [t["estimator"] for t in tried] == ["average", "percentile", "minmax", *["mse"] * 3]
    assert [(t["rounding"], t["correct"]) for t in tried[3:]] == [
        ("nearest", "bias"), ("gptq", "none"), ("adaround", "none"),
    ]  # fmt: skip
    assert {t["samples"] for t in tried} == {64}
    last = [(r.rounding, r.correct) for r in Static(rounding="gptq").remedies()[3:]]  # type: ignore[attr-defined]
    assert last == [("adaround", "none")]


@pytest.mark.parametrize("rounding", ["gptq", "adaround"])
def test_chosen_roundings_keep_the_accuracy_at_3_bits(
    model: Model, goal: Goal, rounding: Rounding
) -> None:
    made = Static(weights=3, rounding=rounding, correct="bias").apply(model, goal)
    assert right(made) >= right(model) - 0.02
    assert made.lineage[-1].notes[1] == (
        f"rounding {rounding}, correction bias: 4 layers on 256 samples"
    )


def test_reconstruction_needs_no_labels(model: Model, goal: Goal) -> None:
    data = ready(replace(samples.task(), calibrate=samples.images(40)[0]))
    made = Static(weights=4, rounding="gptq").apply(model, replace(goal, data=data))
    assert "on 40 samples" in made.lineage[-1].notes[1]


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_calibration_data_gives_a_network_that_runs(
    model: Model, goal: Goal, value: float
) -> None:
    data = ready(replace(samples.task(), calibrate=np.full((8, 1, 8, 8), value, np.float32)))
    made = Static(weights=4, rounding="gptq", correct="norm").apply(model, replace(goal, data=data))
    with torch.no_grad():
        assert torch.isfinite(made.network.eval()(model.example[0])).all()


def test_the_file_of_a_plain_int8_network_does_not_change(model: Model, goal: Goal) -> None:
    """Rounding to nearest without correction does nothing to the weights."""
    made = Static().apply(model, goal).network.state_dict()
    folded = fold_batchnorm(model.network).state_dict()
    assert all(torch.equal(made[name], tensor) for name, tensor in folded.items())


@pytest.mark.parametrize("zero", ["any", "centre"])
@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
def test_fixed_point_has_powers_of_two_for_steps(
    model: Model, goal: Goal, zero: Zero, rounding: Rounding
) -> None:
    made = Static(steps="power_of_two", zero=zero, rounding=rounding, samples=64).apply(model, goal)
    found = [q for q in quantizers(made.network) if q.limits[1] != BIAS_LIMIT]
    for q in found:
        assert (torch.frexp(read(made.network, q.key).scale).mantissa == 0.5).all()
    if zero == "centre":
        assert not any(read(made.network, q.key).zero_point.any() for q in found)
        assert {q.limits for q in found} == {(-127, 127)}
    x = samples.images(64, 9)[0]
    content = export_onnx(made).content
    with torch.no_grad():
        wanted = made.network.eval()(torch.from_numpy(x)).numpy()
    given = _executed(content, x)
    np.testing.assert_array_equal(given, wanted)
    named = "q8t" if zero == "centre" else "uq8t"
    assert f"fixed point: weights q8, activations {named}" in made.lineage[-1].notes
    assert right(made) >= right(model) - 0.02


def test_centred_activations_have_no_zero_points(model: Model, goal: Goal) -> None:
    made = Static(zero="centre", samples=64).apply(model, goal)
    assert made.lineage[-1].notes[1:] == ("activations int8t: integers around 0, no zero points",)
    found = [q for q in quantizers(made.network) if not q.constant]
    assert all(q.scheme == Uniform(symmetric=True) for q in found)
    assert right(made) >= right(model) - 0.01


def _executed(content: bytes, x: np.ndarray) -> np.ndarray:
    """Without the optimizer, whose integer kernels break ties otherwise: of powers of two there are many."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": "best"}, "estimator"),
        ({"weights": 1}, "weights"),
        ({"weights": 9}, "weights"),
        ({"rounding": "up"}, "rounding"),
        ({"correct": "all"}, "correct"),
        ({"samples": 0}, "samples"),
        ({"steps": "two"}, "steps"),
        ({"zero": "left"}, "zero"),
        ({"steps": "power_of_two", "correct": "norm"}, "powers of two"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], message: str) -> None:
    with pytest.raises(NetsukeError, match=message):
        Static(**settings)  # type: ignore[arg-type]


def test_broken_calibration_data_is_an_error(model: Model, goal: Goal) -> None:
    x = samples.images(64)[0].copy()
    x[3] = np.nan
    data = ready(replace(samples.task(), calibrate=x))
    with pytest.raises(NetsukeError, match="calibrate: NaN or infinite"):
        Static().apply(model, replace(goal, data=data))


def test_calibration_data_of_another_shape_is_an_error(model: Model, goal: Goal) -> None:
    data = ready(replace(samples.task(), calibrate=np.zeros((8, 1, 9, 9), np.float32)))
    with pytest.raises(NetsukeError, match=r"calibrate: input 0 has shape \(1, 9, 9\)"):
        Static().apply(model, replace(goal, data=data))
