"""Tensors of the Open Inference Protocol: read and written as it says, and refused where they lie."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netsuke.core.errors import NetsukeError
from netsuke.gateway.tensors import TYPES, Asked, read, write


def told(**other: object) -> dict[str, object]:
    return {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4], **other}


def body(*inputs: object, **other: object) -> bytes:
    return json.dumps({"inputs": list(inputs), **other}).encode()


def test_data_may_be_flat_or_nested() -> None:
    for data in ([1, 2, 3, 4], [[1, 2], [3, 4]]):
        asked = read(body(told(data=data), id="7"), None)
        assert asked.name == "7"
        assert np.array_equal(asked.inputs["x"], np.array([[1, 2], [3, 4]], np.float32))


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_type_goes_there_and_back(name: str) -> None:
    array = np.array([[0, 1], [1, 0]], TYPES[name])
    asked = Asked("", {}, None, frozenset(), all_binary=True)
    content, length = write(asked, [("x", array)], {"model_name": "m"})
    assert length is not None
    answer = json.loads(content[:length])["outputs"][0]
    assert (answer["datatype"], answer["shape"]) == (name, [2, 2])
    request = body({**answer, "parameters": {"binary_data_size": array.nbytes}})
    back = read(request + content[length:], str(len(request))).inputs["x"]
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


def test_what_is_wanted_is_what_comes() -> None:
    arrays = [("a", np.zeros(1, np.float32)), ("b", np.ones(1, np.int64))]
    asked = read(body(told(), outputs=[{"name": "b"}]), None)
    content, length = write(asked, arrays, {})
    assert length is None
    assert [one["name"] for one in json.loads(content)["outputs"]] == ["b"]
    with pytest.raises(NetsukeError, match="there is no 'c'; there are a, b"):
        write(read(body(told(), outputs=[{"name": "c"}]), None), arrays, {})
    with pytest.raises(NetsukeError, match="holds NaN"):
        write(asked, [("b", np.array([np.nan]))], {})


@pytest.mark.parametrize(
    ("request_", "length", "said"),
    [
        (b"", None, "no inference request"),
        (b"[]", None, "no inference request"),
        (b"[" * 50000, None, "no inference request"),
        (b"{}", None, "no inference request"),
        (body(told(datatype="BYTES")), None, "datatype 'BYTES' is none of"),
        (body(told(shape=[3])), None, "has 3 values, data has 4"),
        (body(told(shape=[-4])), None, "shape .* is none"),
        (body(told(shape=[1 << 40])), None, "is none"),
        (body(told(data="zero")), None, "no float32"),
        (body(told(parameters={"binary_data_size": 16})), None, "does not fit"),
        (body(told(parameters={"binary_data_size": -1})), None, "does not fit"),
        (body(told()) + b"rest", str(len(body(told()))), "4 bytes that no input tells of"),
        (body(told()), "9999", "is not within the body"),
        (body(told()), "-1", "is not within the body"),
        (body(told()), "many", "is not within the body"),
    ],
)
def test_what_lies_is_refused(request_: bytes, length: str | None, said: str) -> None:
    with pytest.raises(NetsukeError, match=said):
        read(request_, length)


@given(st.binary(max_size=300), st.none() | st.integers(-5, 400).map(str))
def test_no_body_brings_it_down(noise: bytes, length: str | None) -> None:
    with pytest.raises(NetsukeError):
        read(noise, length)
