"""Whatever an ONNX file holds comes back to the bit, and takes the bits its values need."""

import math
from pathlib import Path

import numpy as np
import onnx
import packer_models as models
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netsuke.core.errors import NetsukeError
from netsuke.packer import pack, unpack
from netsuke.packer.wire import DTYPES

OVERHEAD = 400
"""Bytes of header and of all that is no tensor in the smallest model."""


def round_trip(path: Path) -> dict[str, str]:
    """Pack, unpack and compare; the codec of each tensor by its name, and the stored bytes."""
    made = pack(path, path.with_suffix(".nsk"))
    back = path.with_name("back.onnx")
    unpack(path.with_suffix(".nsk"), back)
    assert back.read_bytes() == path.read_bytes()
    assert path.with_suffix(".nsk").stat().st_size == made.size
    return {name: codec for name, codec in made.codecs.items() if name != "the graph"}


@st.composite
def initializer(draw: st.DrawFn) -> onnx.TensorProto:
    """Any type, any shape, from few to all possible bit patterns."""
    kind = draw(st.sampled_from(sorted(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 13), max_size=4)))
    size = (math.prod(shape) * DTYPES[kind][1] + 7) // 8
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    some = rng.integers(0, 256, draw(st.integers(1, 256)), dtype=np.uint8)
    return models.raw(kind, shape, rng.choice(some, size).tobytes())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(found=st.lists(initializer(), max_size=4))
def test_any_initializers_come_back_to_the_bit(
    found: list[onnx.TensorProto], tmp_path: Path
) -> None:
    for number, one in enumerate(found):
        one.name = f"w{number}"
    graph = onnx.ModelProto(graph=onnx.GraphProto(initializer=found), ir_version=10)
    path = tmp_path / "any.onnx"
    path.write_bytes(graph.SerializeToString())
    round_trip(path)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(bits=st.integers(1, 8), count=st.integers(2000, 70_000), seed=st.integers(0, 99))
def test_integers_of_b_bits_take_b_bits(bits: int, count: int, seed: int, tmp_path: Path) -> None:
    values = np.random.default_rng(seed).integers(0, 2**bits, count) - 2 ** (bits - 1)
    path = models.saved(tmp_path / "w.onnx", models.tensor(values.astype(np.int8)))
    round_trip(path)
    assert path.with_suffix(".nsk").stat().st_size <= count * bits / 8 + 2**bits + OVERHEAD


@pytest.mark.parametrize("entries", [2, 16, 100, 4096])
def test_a_codebook_of_floats_takes_its_codes(tmp_path: Path, entries: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.choice(rng.normal(size=entries).astype(np.float32), (200, 300))
    path = models.saved(tmp_path / "w.onnx", models.tensor(values))
    assert round_trip(path)["w"] in ("ans", "table")
    most = values.size * math.ceil(math.log2(entries)) / 8 + 4 * entries + OVERHEAD
    assert path.with_suffix(".nsk").stat().st_size <= most


@pytest.mark.parametrize("axis", [0, 1])
def test_channels_of_different_bits_each_take_their_own(tmp_path: Path, axis: int) -> None:
    rng = np.random.default_rng(0)
    bits = np.tile([2, 3, 6, 8], 8)
    rows = [rng.integers(0, 2**b, 4000) for b in bits]
    values = np.stack(rows, axis).astype(np.uint8)
    path = models.saved(tmp_path / "w.onnx", models.tensor(values))
    assert round_trip(path) == {"w": "rows"}
    most = (bits * 4000 / 8 + 2**bits + 2).sum() + OVERHEAD
    assert path.with_suffix(".nsk").stat().st_size <= most


def test_levels_with_a_scale_for_each_channel_take_their_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.01, 1, (64, 1, 1, 1))
    values = (rng.integers(-7, 8, (64, 48, 3, 3)) * scales).astype(np.float32)
    path = models.saved(tmp_path / "w.onnx", models.tensor(values))
    assert round_trip(path) == {"w": "scaled"}
    assert (
        path.with_suffix(".nsk").stat().st_size
        <= values.size * 4 / 8 + 64 * (2 + 16 * 4) + OVERHEAD
    )


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    entries=st.integers(1, 31), rows=st.integers(2, 60), kept=st.floats(0.02, 1), seed=st.integers(0, 99)
)  # fmt: skip
def test_a_codebook_times_a_scale_a_row_comes_back(
    entries: int, rows: int, kept: float, seed: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed)
    book = rng.normal(size=entries).astype(np.float32)
    values = rng.choice(book, (rows, 90)) * rng.uniform(0.1, 9, (rows, 1)).astype(np.float32)
    values = np.where(rng.random(values.shape) < kept, values, np.float32(0))
    round_trip(models.saved(tmp_path / "w.onnx", models.tensor(values)))


def test_a_pruned_codebook_times_a_scale_a_row_takes_its_codes(tmp_path: Path) -> None:
    """A scale costs four bytes a row and a corrected entry less than one; zeros their entropy."""
    rng = np.random.default_rng(0)
    book, shape = rng.normal(size=7).astype(np.float32), (300, 784)
    values = rng.choice(book, shape) * rng.uniform(0.1, 9, (300, 1)).astype(np.float32)
    there = rng.random(shape) < 0.05
    path = models.saved(tmp_path / "w.onnx", models.tensor(np.where(there, values, np.float32(0))))
    assert round_trip(path) == {"w": "scaled"}
    bits = there.size * (
        -0.05 * math.log2(0.05) - 0.95 * math.log2(0.95)
    ) + there.sum() * math.log2(7)
    most = bits / 8 * 1.02 + 300 * 4 + 300 * 7 + OVERHEAD
    assert path.with_suffix(".nsk").stat().st_size <= most


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_halves_stored_as_singles_take_half(tmp_path: Path, kind: str) -> None:
    values = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
    if kind == "float16":
        values = values.astype(np.float16).astype(np.float32)
        values[0, :4] = [np.inf, -np.inf, -0.0, 6e-8]
        values[0, 3] = np.float16(values[0, 3])
    else:
        values = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    path = models.saved(tmp_path / "w.onnx", models.tensor(values))
    assert set(round_trip(path).values()) <= {"halves", "planes", "table"}
    assert path.with_suffix(".nsk").stat().st_size <= values.size * 2 + OVERHEAD


def test_every_bit_pattern_of_a_single_survives(tmp_path: Path) -> None:
    """NaNs with their payloads, both zeros, subnormals."""
    patterns = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint32)
    patterns[:6] = [0x7F800001, 0xFFC12345, 0x80000000, 1, 0x7F801000, 0x7FC00000]
    quiet = np.repeat(np.uint32(0x7F802000), 3000)
    tensors = [models.tensor(p.view(np.float32), n) for p, n in ((patterns, "w"), (quiet, "v"))]
    path = models.saved(tmp_path / "w.onnx", *tensors)
    assert round_trip(path)["w"] in ("raw", "planes")


def test_tensors_of_attributes_and_subgraphs_are_found(tmp_path: Path) -> None:
    helper = onnx.helper
    rng = np.random.default_rng(0)
    codes = [rng.integers(0, 4, 4000).astype(np.float32) for _ in range(2)]
    inner = helper.make_graph([], "then", [], [helper.make_tensor_value_info("v", 1, [4000])])
    inner.initializer.append(models.tensor(codes[0], "v"))
    branch = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    constant = helper.make_node("Constant", [], ["k"], value=models.tensor(codes[1], "k"))
    model = helper.make_model(helper.make_graph([constant, branch], "g", [], []))
    path = tmp_path / "w.onnx"
    path.write_bytes(model.SerializeToString())
    found = round_trip(path)
    assert sorted(found) == ["k", "v"]
    assert set(found.values()) <= {"ans", "table"}
    assert path.with_suffix(".nsk").stat().st_size <= 3 * 4000 * 2 / 8 + OVERHEAD


def test_floats_kept_in_their_own_field_are_found(tmp_path: Path) -> None:
    """``float_data`` and ``double_data`` are plain bytes too."""
    codes = np.random.default_rng(0).integers(0, 4, 4000).astype(np.float32)
    single = onnx.TensorProto(data_type=1, dims=[4000], float_data=codes, name="w")
    double = onnx.TensorProto(data_type=11, dims=[4000], double_data=codes, name="v")
    path = models.saved(tmp_path / "w.onnx", single, double)
    assert set(round_trip(path).values()) <= {"ans", "table"}


def test_packing_is_deterministic(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    path = models.saved(tmp_path / "w.onnx", models.tensor(values))
    first, second = tmp_path / "a.nsk", tmp_path / "b.nsk"
    pack(path, first)
    pack(path, second)
    assert first.read_bytes() == second.read_bytes()


def test_a_damaged_onnx_file_is_refused_or_comes_back_as_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = [rng.integers(0, 4, (30, 40)).astype(np.int8), rng.normal(size=90).astype(np.float32)]
    path = models.saved(
        tmp_path / "w.onnx", *(models.tensor(v, f"w{n}") for n, v in enumerate(values))
    )
    content, refusals = path.read_bytes(), []
    for at in rng.choice(len(content), 80, replace=False):
        wrong = bytearray(content)
        wrong[at] ^= int(rng.integers(1, 256))
        path.write_bytes(wrong)
        try:
            round_trip(path)
        except NetsukeError as error:
            refusals.append(str(error))
    assert 0 < len(refusals) < 80
    assert all("cannot be packed" in said for said in refusals)
