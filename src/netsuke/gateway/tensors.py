"""Tensors as the Open Inference Protocol writes them: in JSON, or as bytes behind it (its binary extension)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsuke.core.cut import Tensor
from netsuke.core.data import Array
from netsuke.core.errors import NetsukeError

TYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "FP16": "float16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip
NAMES = {kind: name for name, kind in TYPES.items()}
LENGTH = "Inference-Header-Content-Length"
MOST = 1 << 28
"""Bytes of a request's body."""


@dataclass(frozen=True)
class Asked:
    """A request, read. binary: names of the outputs that are wanted as bytes. outputs: those wanted, None for all."""

    name: str
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...] | None
    binary: frozenset[str]
    all_binary: bool = False


def read(body: bytes, length: str | None) -> Asked:
    """length: the header that says how much of the body is JSON. Raises NetsukeError for what is no request."""
    size = len(body) if length is None else int(length) if length.isdigit() else -1
    if not 0 <= size <= len(body):
        raise NetsukeError(f"{LENGTH}: {length!r} is not within the body's {len(body)} bytes")
    try:
        told = json.loads(body[:size])
        given = [_input(one) for one in told["inputs"]]
        wanted = told.get("outputs")
        outputs = [
            (str(one["name"]), bool(one.get("parameters", {}).get("binary_data")))
            for one in wanted or ()
        ]
        all_binary = bool(told.get("parameters", {}).get("binary_data_output"))
        name = str(told.get("id", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NetsukeError(f"no inference request: {type(error).__name__}: {error}") from error
    return Asked(
        name, _arrays(given, body[size:]), None if wanted is None else tuple(n for n, _ in outputs),
        frozenset(n for n, binary in outputs if binary), all_binary,
    )  # fmt: skip


def write(
    asked: Asked, given: Sequence[tuple[str, Array]], head: Mapping[str, Any]
) -> tuple[bytes, int | None]:
    """(the body of the answer, how much of it is JSON; None where all is)."""
    if asked.outputs is not None:
        known = dict(given)
        missing = [name for name in asked.outputs if name not in known]
        if missing:
            raise NetsukeError(f"outputs: there is no {missing[0]!r}; there are {', '.join(known)}")
        given = [(name, known[name]) for name in asked.outputs]
    told, tail = [], []
    for name, array in given:
        one: dict[str, Any] = {
            "name": name,
            "shape": list(array.shape),
            "datatype": NAMES[array.dtype.name],
        }
        if name in asked.binary or asked.all_binary:
            tail.append(np.asarray(array, order="C").tobytes())
            one["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            one["data"] = _plain(name, array)
        told.append(one)
    answer = {**head, **({"id": asked.name} if asked.name else {}), "outputs": told}
    text = json.dumps(answer).encode()
    return b"".join([text, *tail]), len(text) if tail else None


def described(tensor: Tensor) -> dict[str, Any]:
    """A tensor of a model's metadata: its batch is free."""
    return {"name": tensor.name, "datatype": NAMES[tensor.dtype], "shape": [-1, *tensor.shape]}


def fitting(tensor: Tensor, given: Mapping[str, Array]) -> Array:
    """The array for an input. Raises NetsukeError where it is missing, or of another type or shape."""
    if tensor.name not in given:
        raise NetsukeError(
            f"inputs: {tensor.name!r} is missing; there are {', '.join(given) or 'none'}"
        )
    array = given[tensor.name]
    if array.dtype.name != tensor.dtype or array.shape[1:] != tensor.shape:
        raise NetsukeError(
            f"{tensor.name}: is {NAMES[array.dtype.name]} {list(array.shape)}, the model takes "
            f"{NAMES[tensor.dtype]} {[-1, *tensor.shape]}"
        )
    return array


@dataclass(frozen=True)
class _Told:
    name: str
    kind: str
    shape: tuple[int, ...]
    data: Any
    size: int | None


def _input(told: Mapping[str, Any]) -> _Told:
    name, kind, shape = str(told["name"]), told["datatype"], told["shape"]
    if kind not in TYPES:
        raise NetsukeError(f"{name}: datatype {str(kind)[:20]!r} is none of {', '.join(TYPES)}")
    whole = all(isinstance(d, int) and not isinstance(d, bool) and 0 <= d <= MOST for d in shape)
    if not whole or len(shape) > 8:
        raise NetsukeError(f"{name}: shape {str(shape)[:60]} is none")
    size = told.get("parameters", {}).get("binary_data_size")
    return _Told(name, TYPES[kind], tuple(shape), told.get("data"), size)


def _arrays(given: Sequence[_Told], tail: bytes) -> dict[str, Array]:
    """Those told in JSON, and those cut from the bytes behind it, in order."""
    found, at = {}, 0
    for one in given:
        wanted = math.prod(one.shape)
        if one.size is None:
            found[one.name] = _from_json(one, wanted)
            continue
        if one.size != wanted * np.dtype(one.kind).itemsize or at + one.size > len(tail):
            raise NetsukeError(
                f"{one.name}: binary_data_size {one.size} does not fit shape {one.shape} or the body"
            )
        found[one.name] = np.frombuffer(tail, one.kind, wanted, at).reshape(one.shape)
        at += one.size
    if at != len(tail):
        raise NetsukeError(f"the body has {len(tail) - at} bytes that no input tells of")
    return found


def _from_json(one: _Told, wanted: int) -> Array:
    try:
        array = np.asarray(one.data, one.kind)
    except (ValueError, TypeError, OverflowError) as error:
        raise NetsukeError(f"{one.name}: data that is no {one.kind}: {error}") from error
    if array.size != wanted:
        raise NetsukeError(
            f"{one.name}: shape {one.shape} has {wanted} values, data has {array.size}"
        )
    return array.reshape(one.shape)


def _plain(name: str, array: Array) -> list[Any]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise NetsukeError(
            f"{name}: holds NaN or infinity, which JSON has no word for; ask for it as binary data"
        )
    values: list[Any] = array.reshape(-1).tolist()
    return values
