"""Activations in every scheme: as it is defined, and the same numbers from calibration to onnxruntime."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models import captured
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.core.roofline import is_integer, layer_seconds
from netsuke.core.scheme import Cast, Lookup, Uniform, parse
from netsuke.devices import device
from netsuke.nets.capture import capture
from netsuke.nets.costs import layers
from netsuke.nets.graph import clone
from netsuke.nets.onnx_out import export_onnx
from netsuke.nets.onnx_out.general import translate_all
from netsuke.nets.onnx_out.lower import lower
from netsuke.nets.quantizers import lookup
from netsuke.nets.quantizers.activations import HALVE, activations, halve
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.lookup import table
from netsuke.nets.quantizers.parts import parts, without
from netsuke.nets.quantizers.place import Plan, is_quantized, place
from netsuke.nets.quantizers.quantizer import read
from netsuke.nets.quantizers.ranges import Ranges
from netsuke.nets.save import load, save

INTEGERS = ("uint8t", "int8t", "int8at", "uint8st", "q8t", "uq8t", "q8at", "uq8st", "uint4t", "int4t",
            "int3at", "q5t", "uint16t", "int16t", "q16t")  # fmt: skip
SMALL = {"e4m3t": ml_dtypes.float8_e4m3fn, "e5m2t": ml_dtypes.float8_e5m2}
HALVES = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}
TABLES = ("nf4t", "log3t", "log4t", "log8t", "kmeans2", "kmeans4")
WIDTH = 12


@cache
def identity() -> Model:
    """A linear layer that gives what it reads, in a weight format that holds 1 exactly."""
    module = nn.Linear(WIDTH, WIDTH, bias=False)
    nn.init.eye_(module.weight)
    return capture(module, (torch.randn(2, WIDTH),), "identity")


def rounded(name: str, seen: Tensor, ranges: Ranges | None = None) -> Model:
    """The identity whose input has this scheme, calibrated on what was seen."""
    model = identity()
    plan = Plan(weights=parse("q8" if name in INTEGERS else "bf16"), activations=parse(name))
    network = place(model.network, model.example, plan)
    calibrate(network, [(seen,)], ranges or Ranges("minmax"))
    return replace(model, network=network)


def simulated(model: Model, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model.network.eval()(x))


def executed(content: bytes, x: Tensor, optimized: bool = True) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def values(seed: int, spread: float = 1.0, shift: float = 0.0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return (torch.randn(20, WIDTH, generator=chance) + shift) * spread


@given(st.sampled_from((*INTEGERS, *SMALL, *HALVES)), st.integers(0, 99), st.integers(-4, 4),
       st.sampled_from((-2.0, 0.0, 2.0)))  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_what_is_exported_is_what_was_simulated(
    name: str, seed: int, power: int, shift: float
) -> None:
    model = rounded(name, values(seed, 10.0**power, shift))
    x = values(seed + 1, 2 * 10.0**power, shift)  # beyond the range too
    found = executed(export_onnx(model).content, x, optimized=False)
    np.testing.assert_array_equal(found, simulated(model, x))


@pytest.mark.parametrize("name", [*SMALL, *HALVES])
def test_the_optimizer_changes_nothing(name: str) -> None:
    model, x = rounded(name, values(0)), values(1)
    np.testing.assert_array_equal(executed(export_onnx(model).content, x), simulated(model, x))


@given(st.sampled_from(INTEGERS), st.integers(0, 99), st.sampled_from((-2.0, 0.0, 2.0)))
@settings(deadline=None, max_examples=30)
def test_integers_are_as_defined(name: str, seed: int, shift: float) -> None:
    scheme, seen = parse(name), values(seed, 3.0, shift)
    assert isinstance(scheme, Uniform)
    model = rounded(name, seen)
    (at,) = activations(model.network)
    assert at.scheme == scheme
    made, (low, high) = read(model.network, at.key), scheme.limits
    scale, zero, x = made.scale.numpy(), int(made.zero_point), seen.numpy()
    if scheme.symmetric:
        assert zero == 0
    else:
        nearest_zero = np.rint(low - min(float(x.min()), 0.0) / scale)
        assert zero == np.clip(nearest_zero, low, high)
    if scheme.power_of_two:
        assert np.log2(scale) == np.rint(np.log2(scale))
    wanted = (np.clip(np.rint(x / scale) + np.float32(zero), low, high) - np.float32(zero)) * scale
    np.testing.assert_array_equal(simulated(model, seen), wanted)


@given(st.sampled_from(tuple(HALVES)), st.integers(0, 99), st.integers(-8, 3))
@settings(deadline=None, max_examples=20)
def test_halves_are_as_defined(name: str, seed: int, power: int) -> None:
    x = values(seed, 10.0**power)
    wanted = x.numpy().astype(HALVES[name]).astype(np.float32)
    np.testing.assert_array_equal(simulated(rounded(name, x), x), wanted)


@given(st.sampled_from(tuple(SMALL)), st.integers(0, 99), st.integers(-4, 4))
@settings(deadline=None, max_examples=20)
def test_small_floats_are_as_defined(name: str, seed: int, power: int) -> None:
    kind, seen = SMALL[name], values(seed, 10.0**power)
    model, x = rounded(name, seen), values(seed + 1, 2 * 10.0**power)
    (at,) = activations(model.network)
    top = float(ml_dtypes.finfo(kind).max)
    scale = lookup.read(model.network, at.key).scale.numpy()
    assert scale == np.float32(float(seen.abs().max()) / top)
    inside = np.clip(x.numpy() / scale, -top, top)
    np.testing.assert_array_equal(
        simulated(model, x), inside.astype(kind).astype(np.float32) * scale
    )


@given(st.sampled_from(TABLES), st.integers(0, 99), st.integers(-4, 4))
@settings(deadline=None, max_examples=20)
def test_tables_give_the_nearest_level(name: str, seed: int, power: int) -> None:
    x = values(seed, 10.0**power)
    model = rounded(name, x)
    (at,) = activations(model.network)
    made = lookup.read(model.network, at.key)
    levels = made.levels.double().numpy() * float(made.scale)
    away = np.abs(x.double().numpy()[..., None] - levels).min(-1)
    found = simulated(model, x)
    np.testing.assert_allclose(np.abs(found - x.double().numpy()), away, rtol=1e-4, atol=1e-7 * 10.0**power)  # fmt: skip
    assert len(np.unique(found)) <= 2 ** parse(name).bits


def test_a_codebook_is_fitted_to_what_was_seen() -> None:
    clusters = torch.tensor([-2.0, 0.0, 1.0, 7.0]).repeat(WIDTH * 5).view(-1, WIDTH)
    noise = torch.randn(clusters.shape, generator=torch.Generator().manual_seed(0)) * 0.01
    model = rounded("kmeans2", clusters + noise)
    (at,) = activations(model.network)
    np.testing.assert_allclose(lookup.read(model.network, at.key).levels, [-2, 0, 1, 7], atol=0.01)


def test_counted_values_have_the_codebook_of_values_written_out() -> None:
    some, counts = torch.randn(40).double(), torch.randint(1, 9, (40,))
    written = some.repeat_interleave(counts)
    torch.testing.assert_close(
        lookup.codebook(some, 3, counts.double()), lookup.codebook(written, 3)
    )


def test_log_steps_stay_powers_of_two() -> None:
    for estimator in ("minmax", "mse"):
        model = rounded("log4t", values(3, 3.0), Ranges(estimator))  # type: ignore[arg-type]
        (at,) = activations(model.network)
        assert torch.frexp(lookup.read(model.network, at.key).scale).mantissa == 0.5


@pytest.mark.parametrize("name", ["nf4t", "e4m3t", "log4t"])
@pytest.mark.parametrize("estimator", ["average", "moving", "percentile", "mse", "entropy"])
def test_every_estimator_stretches_a_table(name: str, estimator: str) -> None:
    seen = values(0)
    seen[0, 0] = 40.0
    error = {}
    for kind in ("minmax", estimator):
        found = simulated(rounded(name, seen, Ranges(kind)), seen)  # type: ignore[arg-type]
        assert np.isfinite(found).all()
        error[kind] = float(np.square(found - seen.numpy()).sum())
    if estimator == "mse":
        assert error["mse"] <= 1.01 * error["minmax"]  # the search sees bins


@pytest.mark.parametrize("name", [*SMALL, *HALVES, *TABLES, "q8t"])
def test_gradients_pass_straight_through(name: str) -> None:
    model, x = rounded(name, values(0)), 0.1 * values(0)
    x.requires_grad_()
    tiny = torch.full_like(x, 1e-12)  # a half of a gradient would be zero
    model.network(x).backward(tiny)
    assert torch.equal(x.grad, tiny)  # type: ignore[arg-type]


def test_halve_is_a_well_behaved_operation_of_torch() -> None:
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    for x in (
        torch.randn(3, 4, requires_grad=True),
        torch.randn(3).half(),
        torch.randn(3).double(),
    ):
        torch.library.opcheck(HALVE, (x, "fp16"), test_utils=checks)
    assert halve(torch.tensor([1e6]), "fp16").isinf()


def test_what_fp16_cannot_hold_is_named() -> None:
    with pytest.raises(NetsukeError, match=r"calibrate: values up to 2e\+05 at .*take bf16"):
        rounded("fp16", torch.full((2, WIDTH), -2e5))
    assert np.isfinite(simulated(rounded("bf16", torch.full((2, WIDTH), 2e5)), values(0))).all()


@pytest.mark.parametrize("name", ["fp16", "e4m3t", "kmeans2"])
def test_bad_samples_are_named(name: str) -> None:
    with pytest.raises(NetsukeError, match="calibrate: NaN or infinite values at"):
        rounded(name, torch.full((2, WIDTH), torch.nan))


@pytest.mark.parametrize("name", ["fp16", "e4m3t", "nf4t", "kmeans2", "log3t"])
@pytest.mark.parametrize("constant", [0.0, 0.3])
def test_constant_activations_keep_their_value(name: str, constant: float) -> None:
    x = torch.full((4, WIDTH), constant)
    for estimator in ("minmax", "mse"):
        found = simulated(rounded(name, x, Ranges(estimator)), x)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, x, rtol=0.2)


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_activations_are_refused_by_name(name: str) -> None:
    with pytest.raises(NetsukeError, match=f"no runtime computes activations in {parse(name)}"):
        export_onnx(rounded(name, values(0)))


def test_activations_share_one_scale() -> None:
    for name in ("e4m3", "int8", "int8g4"):
        with pytest.raises(NetsukeError, match="one scale a tensor"):
            Plan(activations=parse(name))
        with pytest.raises(NetsukeError, match="one scale a tensor"):
            Plan(own_inputs={"weight": parse(name)})


@pytest.mark.parametrize("name", ["fp16", "bf16", "e4m3t", "e5m2t"])
def test_a_network_runs_as_it_was_simulated(name: str) -> None:
    model = captured("resnet")
    plan = Plan(weights=replace(parse(name), axis=-1), activations=parse(name))
    network = place(model.network, model.example, plan)
    calibrate(network, [model.example])
    made = replace(model, network=network)
    wanted = simulated(made, model.example[0])
    found = executed(export_onnx(made).content, model.example[0])
    # sums in another order fall to the other side of a tie, seldom
    assert np.abs(found - wanted).mean() < 0.02 * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["fp16", "bf16", "e4m3t", "e5m2t"])
def test_torchs_exporter_writes_the_same(name: str) -> None:
    model, x = rounded(name, values(0)), values(1)
    made = translate_all(lower(model.network), model.example)
    found = executed(ir.to_proto(made).SerializeToString(), x)
    np.testing.assert_array_equal(found, simulated(model, x))


@pytest.mark.parametrize(
    ("name", "bits", "kind"),
    [("fp16", 16, "fp16"), ("bf16", 16, "bf16"), ("e4m3t", 8, "e4m3"), ("nf4t", 4, "fp32"),
     ("kmeans2", 2, "fp32"), ("uint8t", 8, "")],
)  # fmt: skip
def test_layers_have_their_true_bits_and_format(name: str, bits: int, kind: str) -> None:
    model = identity()
    weight = "int8" if kind == "" else name
    plan = Plan(weights=parse(weight), activations=parse(name))
    network = place(model.network, model.example, plan)
    calibrate(network, [(values(0),)])
    (layer,) = layers(replace(model, network=network))
    assert (layer.weight_bits, layer.activation_bits, layer.format) == (bits, bits, kind)
    pi = device("pi4")
    assert is_integer(layer, pi) is (kind == "")
    large = replace(layer, macs=10**9)
    fast = replace(pi, formats={**pi.formats, "e4m3": 4 * pi.formats["fp32"]})
    assert (layer_seconds(large, fast) < layer_seconds(large, pi)) is (kind == "e4m3")


@pytest.mark.parametrize("name", ["fp16", "e4m3t", "log3t", "kmeans2", "q8t"])
def test_a_saved_network_computes_the_same(name: str, tmp_path: Path) -> None:
    model, x = rounded(name, values(0)), values(1)
    save(model, tmp_path)
    again = load(tmp_path)
    np.testing.assert_array_equal(simulated(again, x), simulated(model, x))
    (at,), (was,) = activations(again.network), activations(model.network)
    assert type(at.scheme) is type(was.scheme)
    if not isinstance(at.scheme, Uniform):
        assert at.scheme == was.scheme


def test_layers_that_read_one_tensor_share_its_widest_scheme() -> None:
    model = captured("mlp")
    names = [str(n.all_input_nodes[1].target) for n in model.network.graph.nodes if "linear" in str(n.target)]  # fmt: skip
    plan = Plan(activations=parse("e4m3t"), own_inputs={names[0]: Cast(kind="bf16")})
    found = [a.scheme for a in activations(place(model.network, model.example, plan))]
    assert found.count(Cast(kind="bf16")) == 1
    assert set(found) == {Cast(kind="bf16"), Lookup(table="e4m3", bits=8)}


def test_rounded_activations_count_as_quantized_and_can_be_left_out() -> None:
    model, x = rounded("fp16", values(0)), values(1)
    assert is_quantized(model.network)
    names = [part.name for part in parts(model.network)]
    left = without(clone(model.network), names, {})
    with torch.no_grad():
        assert torch.equal(left(x), x)


def test_a_table_for_all_levels_has_them_all() -> None:
    for name in ("nf4t", "log4t", "e5m2t"):
        scheme = parse(name)
        assert isinstance(scheme, Lookup)
        made = rounded(name, values(0))
        (at,) = activations(made.network)
        assert torch.equal(lookup.read(made.network, at.key).levels, table(scheme))
