"""What is put into an artifact."""

from pathlib import Path

import numpy as np
import pytest

from netsuke.core.artifact import Artifact
from netsuke.core.data import Batch
from netsuke.core.errors import NetsukeError
from netsuke.core.feed import example, feed


def artifact(*inputs) -> Artifact:
    return Artifact(path=Path("m.onnx"), runtime="onnxruntime", sha256="", inputs=inputs)


IMAGE = artifact(("x", "float32", (3, 4)))
TEXT = artifact(("ids", "int64", (-1,)), ("mask", "int64", (-1,)))


def test_values_take_the_artifacts_types():
    (fed,) = feed(Batch((np.ones((2, 3, 4)),), None), IMAGE, "test")
    assert fed.dtype == np.float32
    fed = feed(Batch((np.ones((2, 7), np.int32), np.ones((2, 7), bool)), None), TEXT, "test")
    assert [a.dtype.name for a in fed] == ["int64", "int64"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((np.ones((2, 3, 4)),) * 2, "test: 2 inputs a sample, m.onnx takes 1"),
        ((np.ones((2, 4, 3)),), r"test: input 0 has shape \(4, 3\) a sample, 'x' takes \(3, 4\)"),
        ((np.ones((2, 12)),), "test: input 0 has shape"),
        ((np.ones((2, 3, 4), np.uint8),), "test: input 0 is uint8, 'x' takes float32"),
        ((np.full((2, 3, 4), np.nan),), "test: input 0 holds NaN"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_it(inputs, message):
    with pytest.raises(NetsukeError, match=message):
        feed(Batch(inputs, None), IMAGE, "test")


def test_floats_are_no_token_numbers():
    with pytest.raises(NetsukeError, match="input 0 is float64, 'ids' takes int64"):
        feed(Batch((np.ones((2, 7)),) * 2, None), TEXT, "test")


def test_made_up_values_have_the_artifacts_shapes_and_repeat():
    (made,) = example(IMAGE, samples=5)
    assert made.shape == (5, 3, 4)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, example(IMAGE, samples=5)[0])
    assert [a.tolist() for a in example(TEXT)] == [[[1]], [[1]]]


def test_a_type_nobody_knows_is_an_error():
    with pytest.raises(NetsukeError, match=r"m.onnx: input x: 'tensor\(float\)' is no type"):
        example(artifact(("x", "tensor(float)", (3,))))
