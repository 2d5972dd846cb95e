"""Updates: what changed since an earlier version, and that no other version is taken for it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import packer_models as models
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsuke.core.errors import NetsukeError
from netsuke.packer import pack, unpack
from netsuke.packer.base import added, subtracted
from netsuke.packer.block import Form
from netsuke.packer.header import DIFFERENCE, SAME


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """A network of a few tensors of every width."""
    rng = np.random.default_rng(seed)
    return {
        "conv": np.rint(rng.normal(0, 20, (32, 16, 3, 3))).clip(-127, 127).astype(np.int8),
        "linear": rng.normal(size=(60, 50)).astype(np.float32),
        "bias": rng.integers(-(10**6), 10**6, 40).astype(np.int32),
        "scale": rng.random(16).astype(np.float32),
        "zero": np.zeros(16, np.int8),
        "shape": np.array([1, -1], np.int64),
    }


def written(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    return models.saved(path, *(models.tensor(v, n) for n, v in tensors.items()))


def test_an_unchanged_model_costs_a_header(tmp_path: Path) -> None:
    old = written(tmp_path / "old.onnx", weights())
    made = pack(old, tmp_path / "update.nsk", since=old)
    assert {section.against for section in made.header.sections} == {SAME}
    assert made.size < 100
    unpack(tmp_path / "update.nsk", tmp_path / "new.onnx", since=old)
    assert (tmp_path / "new.onnx").read_bytes() == old.read_bytes()


def test_what_changed_little_is_written_as_its_difference(tmp_path: Path) -> None:
    """One weight in fifty moves by a step, floats by a millionth: much less than the tensors."""
    tensors, rng = weights(), np.random.default_rng(1)
    old = written(tmp_path / "old.onnx", tensors)
    tensors["conv"] = tensors["conv"] + (rng.random(tensors["conv"].shape) < 0.02).astype(np.int8)
    tensors["linear"] = tensors["linear"] * np.float32(1 + 1e-6)
    new = written(tmp_path / "new.onnx", tensors)
    alone = pack(new, tmp_path / "alone.nsk")
    update = pack(new, tmp_path / "update.nsk", since=old)
    by = dict(zip(update.names, update.header.sections, strict=True))
    assert {n for n, s in by.items() if s.against == DIFFERENCE} == {"conv", "linear"}
    assert by["conv"].length < 0.25 * tensors["conv"].nbytes
    assert by["linear"].length < 0.25 * tensors["linear"].nbytes
    assert update.size < 0.25 * alone.size
    unpack(tmp_path / "update.nsk", tmp_path / "back.onnx", since=old)
    assert (tmp_path / "back.onnx").read_bytes() == new.read_bytes()


def test_tensors_that_are_new_gone_or_of_another_shape(tmp_path: Path) -> None:
    tensors = weights()
    old = written(tmp_path / "old.onnx", tensors)
    del tensors["bias"]
    tensors["conv"] = tensors["conv"][:20]
    tensors["more"] = np.arange(900, dtype=np.float32)
    tensors["scale"] = tensors["scale"].astype(np.float64)
    new = written(tmp_path / "new.onnx", tensors)
    pack(new, tmp_path / "update.nsk", since=old)
    unpack(tmp_path / "update.nsk", tmp_path / "back.onnx", since=old)
    assert (tmp_path / "back.onnx").read_bytes() == new.read_bytes()


def test_the_base_may_be_stored_or_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    old = written(run / "model.onnx", weights())
    pack(old, run / "model.nsk")
    new = written(tmp_path / "new.onnx", weights() | {"zero": np.ones(16, np.int8)})
    updates = []
    for base in (old, run / "model.nsk", run):
        pack(new, tmp_path / "update.nsk", since=base)
        updates.append((tmp_path / "update.nsk").read_bytes())
    assert len(set(updates)) == 1
    old.unlink()
    for base in (run / "model.nsk", run):
        unpack(tmp_path / "update.nsk", tmp_path / "back.onnx", since=base)
        assert (tmp_path / "back.onnx").read_bytes() == new.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "back.onnx",
        "new.onnx",
        "run",
        "update.nsk",
    ]


def test_another_base_is_refused_by_name(tmp_path: Path) -> None:
    old = written(tmp_path / "old.onnx", weights())
    other = written(tmp_path / "other.onnx", weights(1))
    pack(other, tmp_path / "update.nsk", since=old)
    out = tmp_path / "out.onnx"
    with pytest.raises(NetsukeError, match=r"update\.nsk: is an update of the model with sha256 \w{12}…, and \w{12}… was given; give that one$"):  # fmt: skip
        unpack(tmp_path / "update.nsk", out, since=other)
    with pytest.raises(NetsukeError, match=r"sha256 \w{12}…; give that model with --since$"):
        unpack(tmp_path / "update.nsk", out)
    with pytest.raises(NetsukeError, match=r"none\.onnx: no such file"):
        unpack(tmp_path / "update.nsk", out, since=tmp_path / "none.onnx")
    with pytest.raises(NetsukeError, match=r"has no model\.onnx and no model\.nsk"):
        unpack(tmp_path / "update.nsk", out, since=tmp_path)
    with pytest.raises(NetsukeError, match=r"is no whole \.onnx file"):
        (tmp_path / "bad.onnx").write_bytes(b"no model at all")
        pack(other, tmp_path / "update.nsk", since=tmp_path / "bad.onnx")
    assert not out.exists()


def test_a_damaged_update_is_refused(tmp_path: Path) -> None:
    tensors = weights()
    old = written(tmp_path / "old.onnx", tensors)
    tensors["conv"] = np.roll(tensors["conv"], 1) // 2 + tensors["conv"] // 2
    pack(written(tmp_path / "new.onnx", tensors), tmp_path / "update.nsk", since=old)
    content, rng = (tmp_path / "update.nsk").read_bytes(), np.random.default_rng(0)
    for at in {*range(90), *rng.integers(0, len(content), 60).tolist()}:
        wrong = bytearray(content)
        wrong[at] ^= int(rng.integers(1, 256))
        (tmp_path / "wrong.nsk").write_bytes(wrong)
        with pytest.raises(NetsukeError):
            unpack(tmp_path / "wrong.nsk", tmp_path / "out.onnx", since=old)
    assert not (tmp_path / "out.onnx").exists()


@settings(max_examples=60, deadline=None)
@given(
    width=st.sampled_from([2, 4, 8, 16, 32, 64]), count=st.integers(1, 40), seed=st.integers(0, 99)
)
def test_a_difference_is_undone(width: int, count: int, seed: int) -> None:
    size = count * width if width >= 8 else count
    new, old = np.random.default_rng(seed).integers(0, 256, (2, size), dtype=np.uint8)
    form = Form(width, (size * 8 // width,), size)
    difference = subtracted(new.tobytes(), old.tobytes(), form)
    assert added(difference, old.tobytes(), form) == new.tobytes()


def test_the_command_line_updates_through_a_pipe(tmp_path: Path) -> None:
    """``pack NEW --since OLD``, then ``unpack - --since OLD`` from a pipe."""
    old = written(tmp_path / "old.onnx", weights())
    new = written(tmp_path / "new.onnx", weights() | {"zero": np.ones(16, np.int8)})
    netsuke = [sys.executable, "-c", "from netsuke.cli import main; main()"]
    done = subprocess.run(
        [*netsuke, "pack", str(new), "--since", str(old)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    back = tmp_path / "back.onnx"
    done = subprocess.run(
        [*netsuke, "unpack", "-", "-o", str(back), "--since", str(old)],
        input=(tmp_path / "update.nsk").read_bytes(), capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert back.read_bytes() == new.read_bytes()
