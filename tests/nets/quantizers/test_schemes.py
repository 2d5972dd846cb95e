"""Every scheme: as it is defined, and the same numbers from encoding to onnxruntime, to the bit."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models import captured as shared
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.core.scheme import parse
from netsuke.nets.capture import capture
from netsuke.nets.costs import layers
from netsuke.nets.graph import clone
from netsuke.nets.onnx_out import export_onnx
from netsuke.nets.quantizers import lookup
from netsuke.nets.quantizers.calibrate import calibrate, encode_weight
from netsuke.nets.quantizers.lookup import LOOKUP, fit, nearest, table
from netsuke.nets.quantizers.place import Plan, place
from netsuke.nets.quantizers.quantizer import quantize
from netsuke.nets.quantizers.weights import quantize_weights, weights
from netsuke.nets.save import load, save

UNIFORM = ("int2", "int3", "int4", "int5", "int6", "int7", "int8", "int16", "uint2", "uint4", "uint8",
           "uint16", "int4a", "uint4s", "q4", "q8", "uq6", "int8t", "uint8t", "int4t", "int8at")  # fmt: skip
TABLES = ("kmeans2", "kmeans4", "kmeans5", "kmeans4c", "log3", "log4", "log8", "nf4", "nf4t", "e4m3",
          "e4m3t", "e5m2")  # fmt: skip
HALVES = ("fp16", "bf16")
GROUPED = ("int4g16", "uint4g16", "int3g8", "uint8g16", "int8g5", "int2g32", "nf4g16", "kmeans3g8",
           "e4m3g4", "log4g5")  # fmt: skip
BITS = {"nf4": 4, "e4m3": 8, "e5m2": 8, "fp16": 16, "bf16": 16}


def hard(rows: int, columns: int) -> dict[str, Tensor]:
    """Weights that break scales."""
    normal = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    outlier = normal.clone()
    outlier[0, 0] = 1e6
    return {
        "normal": normal,
        "zero": torch.zeros(rows, columns),
        "outlier": outlier,
        "constant": torch.full((rows, columns), -0.3),
        "tiny": normal * 1e-38,
        "one row zero": torch.cat((normal[:1] * 0, normal[1:])),
    }


@cache
def captured(kind: str, rows: int, columns: int) -> Model:
    """A layer of one weight and no bias to speak of."""
    made: dict[str, tuple[nn.Module, Tensor]] = {
        "linear": (nn.Linear(columns, rows), torch.randn(2, columns)),
        "sequence": (nn.Linear(columns, rows), torch.randn(2, 3, columns)),
        "conv2d": (nn.Conv2d(columns, rows, 1), torch.randn(2, columns, 1, 1)),
        "embedding": (nn.Embedding(rows, columns), torch.zeros(2, 3, dtype=torch.int64)),
    }
    module, inputs = made[kind]
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return capture(module.eval(), (inputs,), kind)


def coded(kind: str, weight: Tensor, name: str) -> Model:
    """A layer with this weight, quantized."""
    model = captured(kind, *weight.shape)
    network = clone(model.network)
    held = network.get_parameter("weight")
    held.data = weight.reshape(held.shape).clone()
    network = quantize_weights(network, {"weight": parse(name)})
    return Model(network=network, example=model.example, name=kind)


def probe(kind: str, rows: int, columns: int) -> Tensor:
    """An input for which a layer gives its weight, no number of it changed."""
    eye = torch.eye(columns)
    return {
        "linear": eye,
        "sequence": eye[:, None].repeat(1, 3, 1),
        "conv2d": eye[:, :, None, None],
        "embedding": torch.arange(rows)[:, None].repeat(1, 3),
    }[kind]


def simulated(model: Model, x: Tensor) -> np.ndarray:
    """In float64, as parity is judged; then in the float32 that files hold."""
    network = clone(model.network).eval().double()
    with torch.no_grad():
        return np.asarray(network(x.double() if x.is_floating_point() else x).float())


def executed(content: bytes, x: Tensor, optimized: bool = True) -> np.ndarray:
    session = _session(content, optimized)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def _session(
    content: bytes, optimized: bool = True, folder: Path | None = None
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if folder:
        options.optimized_model_filepath = str(folder / "optimized.onnx")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def check(kind: str, weight: Tensor, name: str) -> None:
    """encode → export → load → the weight that was simulated."""
    model = coded(kind, weight, name)
    content, x = export_onnx(model).content, probe(kind, *weight.shape)
    expected = simulated(model, x)
    np.testing.assert_array_equal(executed(content, x, optimized=False), expected)
    # fused with its product, a code is multiplied by its scale after the sum: the same but for rounding
    top = float(weight.abs().max())
    np.testing.assert_allclose(executed(content, x), expected, rtol=1e-5, atol=1e-6 * top)


shapes = st.tuples(st.integers(2, 20), st.integers(2, 40))
kinds = st.sampled_from(("linear", "sequence", "embedding"))


@given(st.sampled_from((*UNIFORM, *TABLES, *HALVES, *GROUPED)), kinds, shapes, st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_weights_survive_to_the_bit(
    name: str, kind: str, shape: tuple[int, int], seed: int
) -> None:
    chance = torch.Generator().manual_seed(seed)
    check(kind, torch.randn(*shape, generator=chance) * 10.0 ** (seed - 5), name)


@pytest.mark.parametrize("name", [*UNIFORM, *TABLES, *HALVES])
def test_convolutions_too(name: str) -> None:
    check("conv2d", torch.randn(6, 5, generator=torch.Generator().manual_seed(3)), name)


@pytest.mark.parametrize("case", list(hard(2, 2)))
@pytest.mark.parametrize("name", ["int4", "uint8g16", "q8", "kmeans4", "log4", "nf4", "e4m3", "bf16"])  # fmt: skip
def test_hard_weights_survive_too(name: str, case: str) -> None:
    weight = hard(6, 20)[case]
    for kind in ("linear", "embedding"):
        check(kind, weight, name)
    found = simulated(coded("embedding", weight, name), torch.arange(6)[:, None])[:, 0]
    assert np.isfinite(found).all()
    if case == "zero":
        assert not found.any()
    if case == "constant":
        np.testing.assert_allclose(found, weight, rtol=0.2)
    if case == "outlier" and name != "kmeans4":
        np.testing.assert_allclose(found[0, 0], 1e6, rtol=0.4)  # log4 knows powers of two only
    if case == "outlier" and name in ("int4", "uint8", "e4m3", "nf4"):
        assert np.abs(found[1:] - weight[1:].numpy()).max() < 0.5  # other channels do not suffer


@given(st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=30),
       st.sampled_from(("int4", "uint3", "int8a", "q5", "uq4")))  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_uniform_against_its_definition(values: list[float], name: str) -> None:
    scheme = parse(name + "t")
    x = torch.tensor(values, dtype=torch.float64)
    made = encode_weight(x, scheme)  # type: ignore[arg-type]
    low, high = scheme.limits  # type: ignore[attr-defined]
    scale, zero = float(made.scale), int(made.zero_point)
    wanted = (np.clip(np.rint(x.numpy() / scale) + zero, low, high) - zero) * scale
    found = quantize(x, made.scale, made.zero_point, low, high, -1)
    np.testing.assert_array_equal(found, wanted)
    if scheme.power_of_two:  # type: ignore[attr-defined]
        assert np.log2(scale) == np.rint(np.log2(scale))


@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=30),
       st.sampled_from(("nf4", "log4", "e4m3", "e5m2")))  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_a_table_gives_the_nearest_level(values: list[float], name: str) -> None:
    levels = table(parse(name)).double().numpy()  # type: ignore[arg-type]
    x = np.array(values)
    away = np.abs(x[:, None] - levels)
    found = levels[nearest(torch.tensor(values), torch.from_numpy(levels)).numpy()]
    np.testing.assert_array_equal(np.abs(found - x), away.min(1))


@pytest.mark.parametrize(
    ("name", "kind"), [("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)]
)
def test_fp8_rounds_as_torchs_casts_do(name: str, kind: torch.dtype) -> None:
    levels = table(parse(name))  # type: ignore[arg-type]
    codes = torch.arange(256, dtype=torch.uint8).view(kind).float()
    assert torch.equal(levels, codes[codes.isfinite()].unique())
    middles = (levels[1:] + levels[:-1]) / 2
    many = torch.randn(2000, generator=torch.Generator().manual_seed(0)) * levels[-1] / 5
    x = torch.cat((levels, middles, middles * (1 + 1e-6), many)).clamp(levels[0], levels[-1])
    found = lookup.lookup(x, levels, torch.tensor(1.0), -1, 0)
    assert torch.equal(found, x.to(kind).float())


def test_nf4_is_the_published_table() -> None:
    published = [-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0.0,
                 0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0]  # fmt: skip
    np.testing.assert_allclose(table(parse("nf4")), published, atol=1e-6)  # type: ignore[arg-type]


def test_log_levels_are_zero_and_powers_of_two() -> None:
    assert table(parse("log3")).tolist() == [-1, -0.5, -0.25, 0, 0.25, 0.5, 1]  # type: ignore[arg-type]
    made = fit(torch.tensor([[0.3, -0.7], [5.0, 1.0]]), parse("log3"))  # type: ignore[arg-type]
    assert made.scale.tolist() == [0.5, 4]


def test_a_codebook_is_what_k_means_finds() -> None:
    clusters = torch.tensor([-2.0, 0.5, 1.0, 7.0])
    noise = torch.randn(400, generator=torch.Generator().manual_seed(0)) * 0.01
    made = fit(clusters.repeat(100) + noise, parse("kmeans2"))  # type: ignore[arg-type]
    np.testing.assert_allclose(made.levels, clusters, atol=0.01)
    pruned = torch.cat((noise, torch.zeros(600)))
    assert 0 in fit(pruned, parse("kmeans3")).levels  # type: ignore[arg-type]
    assert fit(torch.full((9,), 0.1), parse("kmeans2")).levels.unique().tolist() == [  # type: ignore[arg-type]
        pytest.approx(0.1)
    ]


def test_the_gradient_of_a_lookup_passes_inside_the_range_only() -> None:
    x = torch.tensor([[-2.1, -0.1], [0.3, 1.1]], requires_grad=True)
    lookup.lookup(x, table(parse("nf4")), torch.tensor([2.0, 1.0]), 0, 0).sum().backward()  # type: ignore[arg-type]
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 1], [1, 0]]


def test_lookup_is_a_well_behaved_operation_of_torch() -> None:
    x, levels = torch.randn(4, 6, requires_grad=True), table(parse("nf4"))  # type: ignore[arg-type]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    for scale, axis, group in (
        (torch.tensor(2.0), -1, 0),
        (torch.ones(4), 0, 0),
        (torch.ones(4, 2), 0, 4),
    ):
        torch.library.opcheck(LOOKUP, (x, levels, scale, axis, group), test_utils=checks)


@pytest.mark.parametrize("name", [*UNIFORM, *TABLES, *HALVES, *GROUPED])
def test_layers_have_their_true_bits(name: str) -> None:
    scheme = parse(name)
    (layer,) = layers(coded("linear", torch.randn(8, 20), name))
    assert layer.weight_bits == scheme.bits == BITS.get(name.rstrip("tg1645"), scheme.bits)
    assert layer.weights == 8 * 20 + 8


FORMS: tuple[tuple[str, str, Callable[[Counter[str]], bool]], ...] = (
    ("linear", "int4", lambda n: n["MatMulNBits"] == 1 and not n["DequantizeLinear"]),
    ("sequence", "uint8", lambda n: n["MatMulNBits"] == 1),
    ("linear", "int4g16", lambda n: n["MatMulNBits"] == 1),
    ("linear", "nf4g16", lambda n: set(n) == {"Gemm"}),
    ("linear", "e4m3", lambda n: set(n) == {"Gemm"}),
    ("linear", "fp16", lambda n: set(n) == {"Gemm"}),
    ("conv2d", "int4", lambda n: not n["DequantizeLinear"] and not n["Cast"]),
    ("embedding", "int4", lambda n: set(n) == {"GatherBlockQuantized"}),
    ("embedding", "int8", lambda n: n["Gather"] == 2 and not n["DequantizeLinear"]),
)


@pytest.mark.parametrize(("kind", "name", "holds"), FORMS, ids=[f"{k}-{n}" for k, n, _ in FORMS])
def test_onnxruntime_makes_of_it_what_is_said(
    kind: str, name: str, holds: Callable[[Counter[str]], bool], tmp_path: Path
) -> None:
    content = export_onnx(coded(kind, torch.randn(24, 32), name)).content
    _session(content, folder=tmp_path)
    nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
    assert holds(Counter(node.op_type for node in nodes)), [node.op_type for node in nodes]


@pytest.mark.parametrize(("name", "share"), [("int4", 0.15), ("int3", 0.15), ("uint4g16", 0.25), ("int8", 0.27),
    ("kmeans4", 0.14), ("nf4g32", 0.18), ("e4m3", 0.27), ("bf16", 0.51), ("int16", 0.52)])  # fmt: skip
def test_the_file_holds_codes(name: str, share: float) -> None:
    weight = torch.randn(128, 256)
    for kind in ("linear", "embedding"):
        size = len(export_onnx(coded(kind, weight, name)).content)
        assert size < share * 4 * weight.numel() + 1000


def test_a_saved_network_keeps_its_codes(tmp_path: Path) -> None:
    for name in ("int4g16", "kmeans4", "bf16"):
        model = coded("linear", torch.randn(6, 20), name)
        save(model, tmp_path)
        x = torch.eye(20)
        np.testing.assert_array_equal(simulated(load(tmp_path), x), simulated(model, x))
        assert export_onnx(load(tmp_path)).content == export_onnx(model).content


def test_weights_that_cannot_be_coded_are_named() -> None:
    assert set(weights(captured("conv2d", 6, 5).network)) == {"weight"}
    with pytest.raises(NetsukeError, match="weight: int4g16 needs a matrix"):
        coded("conv2d", torch.randn(6, 5), "int4g16")
    with pytest.raises(NetsukeError, match="weight: has values that fp16 cannot hold; take bf16"):
        coded("linear", hard(6, 5)["outlier"], "fp16")
    with pytest.raises(NetsukeError, match="weight: the weight holds NaN"):
        coded("linear", torch.full((6, 5), torch.nan), "int4")


@pytest.mark.parametrize(
    ("weight", "activation"),
    [("int8", "uint16t"), ("int16", "uint16t"), ("kmeans4", "uint8t"), ("nf4g8", "uint8t"),
     ("int8t", "uint8t"), ("uint8t", "uint8t"), ("uint4", "int8t"), ("int8", "uq8t"), ("bf16", "uint8t"),
     ("int4g8", "uint8t"), ("e4m3", "uint4t")],
)  # fmt: skip
def test_any_weights_go_with_any_activations(weight: str, activation: str) -> None:
    model = shared("mlp")
    plan = Plan(weights=parse(weight), activations=parse(activation))  # type: ignore[arg-type]
    network = place(model.network, model.example, plan)
    x = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
    calibrate(network, [(x,)])
    made = Model(network=network, example=model.example, name="mlp")
    expected = simulated(made, x)
    # its optimizer would round float weights between integers to 8 bits, see docs/quantization.md
    found = executed(export_onnx(made).content, x, optimized=False)
    # a tie, broken otherwise in float32, is one level somewhere, seldom
    assert np.abs(found - expected).mean() < 1e-3 * np.abs(expected).max()
    assert {layer.weight_bits for layer in layers(made) if layer.op == "linear"} == {parse(weight).bits}  # fmt: skip
