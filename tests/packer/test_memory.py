"""Unpacking holds a few parts of a tensor, however large the model."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import packer_models as models
import pytest

from netsuke.packer import layout, pack, unpack_stream

PART = 1 << 20
"""Bytes of a part here, a quarter of what they are, so that the test is short."""
ALLOWED = 8 * PART
"""Bytes at any time: a part, what it is written as, and what is made of them on the way."""


class Pipe(io.RawIOBase):
    """Bytes that come once, a little at a time, and cannot be sought."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "a pipe is never read whole"
        return self._file.read(min(size, 70_000))

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize("kind", ["int8", "float32", "zeros"])
def test_a_model_of_many_parts_expands_in_bounded_memory(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "PART", PART)
    rng = np.random.default_rng(0)
    shape = (12 * PART // 1000, 1000)
    if kind == "int8":
        values = np.rint(rng.standard_normal(shape, np.float32) * 4).astype(np.int8)
    else:
        shape = (shape[0] // 4, 1000)
        values = np.zeros(shape, np.float32)
        if kind == "float32":
            values = rng.standard_normal(shape, np.float32)
    path = models.saved(tmp_path / "large.onnx", models.tensor(values))
    made = pack(path, tmp_path / "large.nsk")
    assert len(made.header.sections) > 8
    tracemalloc.start()
    with Pipe(tmp_path / "large.nsk") as pipe:
        unpack_stream(pipe, tmp_path / "back.onnx")  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < ALLOWED < path.stat().st_size
    assert (tmp_path / "back.onnx").read_bytes() == path.read_bytes()
