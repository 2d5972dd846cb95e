"""Messages: what is said arrives as it was, and what cannot be a message is refused by name."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from netsuke.wire.message import (
    MOST_FRAMES,
    MOST_HEADER,
    TYPES,
    Message,
    WireError,
    arrays_of,
    pack,
    unpack,
    with_arrays,
)


@given(st.sampled_from(sorted(TYPES)).flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, min_side=0, max_dims=4))))  # fmt: skip
def test_arrays_arrive_bit_for_bit(array: np.ndarray) -> None:
    there = arrays_of(unpack(pack(with_arrays({"do": "run"}, [array]))))[0]
    assert (there.dtype, there.shape) == (array.dtype, array.shape)
    assert there.tobytes() == array.tobytes()


def test_a_view_that_is_not_in_order_arrives_in_order() -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4).transpose(2, 0, 1)
    assert np.array_equal(arrays_of(unpack(pack(with_arrays({}, [array]))))[0], array)


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([], "0 frames"),
        ([b"{}"] * (MOST_FRAMES + 1), "frames"),
        ([b"x" * (MOST_HEADER + 1)], "larger"),
        ([b"\xff\xfe"], "no JSON"),
        ([b"[" * 60000], "no JSON"),
        ([b"[1]"], "no table"),
        ([b'{"v": 2}'], "version 2"),
        ([b"{}"], "version None"),
    ],
)
def test_what_is_no_message_is_refused(frames: list[bytes], said: str) -> None:
    with pytest.raises(WireError, match=said):
        unpack(frames)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (None, "does not tell"),
        ([], "does not tell"),
        ([["float32", [3]]], "12 bytes and has 16"),
        ([["float32", [10**15]]], "no shape"),
        ([["float32", [-4]]], "no shape"),
        ([["float32", [True, 4]]], "no shape"),
        ([["float32", [1] * 9]], "no shape"),
        ([["object", [2]]], "'object', which is not sent"),
        ([[["float32"], [4]]], "not sent"),
        ([["float32"]], "told of as"),
        (["float32"], "told of as"),
    ],
)
def test_a_lying_size_shape_or_type_is_refused(told: object, said: str) -> None:
    message = unpack([json.dumps({"v": 1, "arrays": told}).encode(), b"\0" * 16])
    with pytest.raises(WireError, match=said):
        arrays_of(message)


@given(st.binary(max_size=200))
def test_no_bytes_bring_it_down(noise: bytes) -> None:
    try:
        arrays_of(unpack([noise, noise]))
    except WireError:
        return


@pytest.mark.parametrize("value", [None, "7", -1, 1.5, True, 1001])
def test_a_number_of_the_header_is_checked(value: object) -> None:
    assert Message({"n": 7}).whole("n", 1000) == 7
    with pytest.raises(WireError, match="n:"):
        Message({"n": value}).whole("n", 1000)


def test_a_header_that_would_be_refused_is_not_sent() -> None:
    with pytest.raises(WireError, match="header"):
        pack(Message({"x": "y" * MOST_HEADER}))
