"""Bytes of a file and of a process, estimated from layers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models import ResNet
from netsuke.core.budget import Budget
from netsuke.core.device import Device
from netsuke.core.footprint import SESSION, file_bytes, memory_bytes
from netsuke.core.layer import Layer
from netsuke.core.observer import Observer
from netsuke.core.recipe import make_pass
from netsuke.core.roofline import compute_seconds, layer_bytes, model_seconds
from netsuke.core.task import Task
from netsuke.intake import take_goal, take_model
from netsuke.runtimes.onnxruntime import OnnxRuntime

BOARD = Device(
    name="board", title="a board", memory=1e9, storage=1e9, cores=1, kernel_width=8,
    formats={"fp32": 1e9, "int8": 3e9}, bandwidth=1e9, overhead=1e-6,
)  # fmt: skip
CONV = Layer(
    name="conv", op="conv2d", weights=250_000, inputs=1000, outputs=1000, channels=(100, 250)
)
TABLE = Layer(name="words", op="embedding", weights=4_000_000, outputs=1000)


@pytest.mark.parametrize("recipe", [None, "quantize.static"])
def test_the_file_is_as_large_as_the_exporter_writes_it(tmp_path: Path, recipe: str | None) -> None:
    x = np.random.default_rng(0).standard_normal((16, 3, 32, 32), np.float32)
    task = Task(calibrate=x, validate=(x, np.zeros(16, np.int64)))
    goal = take_goal(task, BOARD, Budget(), 0, Observer())
    model = take_model(ResNet(1, 8).eval(), goal.data, "tiny")
    if recipe:
        model = make_pass(recipe, {}).apply(model, goal)
    made = OnnxRuntime().export(model, BOARD, tmp_path / "model.onnx")
    assert file_bytes(made.layers) / made.path.stat().st_size == pytest.approx(1, abs=0.1)


def test_a_large_table_is_there_twice_while_it_is_read_and_once_afterwards() -> None:
    held = memory_bytes((TABLE,), BOARD) - SESSION
    assert held == pytest.approx(2 * 16e6, rel=0.02)
    # beside weights that are packed for kernels, the later moment counts
    with_convs = memory_bytes((TABLE, replace(CONV, weights=40_000_000)), BOARD)
    assert with_convs - SESSION == pytest.approx(16e6 + 3.2 * 160e6, rel=0.02)


def test_a_session_that_was_measured_counts_instead_of_the_usual_one() -> None:
    other = replace(BOARD, session=2e6)
    assert memory_bytes((CONV,), BOARD) - memory_bytes((CONV,), other) == pytest.approx(
        SESSION - 2e6
    )


def test_weights_of_few_bits_lie_in_four_in_the_file_and_are_bytes_beside_integer_activations() -> (
    None
):
    coded = replace(CONV, weight_bits=4, activation_bits=8)
    byte = replace(CONV, weight_bits=8, activation_bits=8)
    assert file_bytes((coded,)) == pytest.approx(125_000, rel=0.03)
    assert file_bytes((replace(CONV, weight_bits=3),)) == pytest.approx(125_000, rel=0.03)
    assert file_bytes((replace(CONV, weight_bits=6),)) == pytest.approx(250_000, rel=0.03)
    assert memory_bytes((coded,), BOARD) == pytest.approx(memory_bytes((byte,), BOARD), rel=0.02)


def test_a_microcontroller_holds_activations_alone_and_an_accelerator_each_weight_once() -> None:
    small, unit = replace(BOARD, kind="microcontroller"), replace(BOARD, kind="accelerator")
    assert memory_bytes((CONV,), small) == pytest.approx(1.2 * 8000)
    assert memory_bytes((CONV,), unit) == pytest.approx(1_000_000 + 8000)


def test_rounding_to_integers_takes_its_time_value_by_value() -> None:
    coded = replace(CONV, macs=250 * 9000, weight_bits=8, activation_bits=8)
    added = replace(coded, op="add", macs=0, weights=0, inputs=2000)
    slow = replace(BOARD, coding=1e6)
    # nine places of the kernel read each of 1,000 values, and 1,000 come out
    assert compute_seconds(coded, slow) - compute_seconds(coded, BOARD) == pytest.approx(10e-3)
    # two come in, one goes out
    assert compute_seconds(added, slow) == pytest.approx(3e-3)
    assert compute_seconds(CONV, slow) == compute_seconds(CONV, BOARD)


def test_what_fits_the_cache_comes_from_there_and_a_call_has_a_price() -> None:
    near = replace(BOARD, cache=1e7, cache_bandwidth=1e12)
    assert model_seconds((CONV,), near) < 0.01 * model_seconds((CONV,), BOARD)
    assert model_seconds((TABLE, CONV), replace(near, cache=1e6)) == model_seconds(
        (TABLE, CONV), BOARD
    )
    assert model_seconds((CONV,), replace(BOARD, call=1.0)) > 1.0


def test_looking_up_reads_the_rows_not_the_table() -> None:
    assert layer_bytes(TABLE) == 8 * TABLE.outputs
