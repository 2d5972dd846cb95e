"""A stored model that is damaged, cut off, newer or hostile: one clear line, nothing half-written."""

import json
import random
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import packer_models as models
import pytest

from netsuke.core.errors import NetsukeError
from netsuke.packer import pack, unpack
from netsuke.packer.header import MAGIC, PREFIX, VERSION


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A model with a section of every codec, stored; its ONNX file lies beside."""
    rng = np.random.default_rng(0)
    tensors = {
        "raw": rng.integers(0, 256, 400).astype(np.uint8),
        "table": rng.integers(-3, 4, (20, 50)).astype(np.int8),
        "rows": (rng.integers(0, 4, (8, 400)) * rng.uniform(1, 2, (8, 1))).astype(np.float32),
        "halves": rng.normal(size=900).astype(np.float16).astype(np.float32),
        "deflate": np.repeat(rng.integers(0, 256, 300), 5).astype(np.uint8),
    }
    path = models.saved(
        tmp_path / "model.onnx", *(models.tensor(v, name) for name, v in tensors.items())
    )
    made = pack(path, tmp_path / "model.nsk")
    assert {s.name: s.codec for s in made.header.sections[1:]} == {n: n for n in tensors}
    return tmp_path / "model.nsk"


def refused(path: Path) -> str:
    """What unpacking says, having written nothing."""
    before = sorted(p.name for p in path.parent.iterdir())
    with pytest.raises(NetsukeError) as caught:
        unpack(path, path.with_name("out.onnx"))
    assert sorted(p.name for p in path.parent.iterdir()) == before
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_flipped_byte_is_told_and_never_believed(stored: Path) -> None:
    content, draw = stored.read_bytes(), random.Random(0)
    for at in {*range(40), *draw.sample(range(len(content)), 200)}:
        wrong = bytearray(content)
        wrong[at] ^= draw.randrange(1, 256)
        stored.write_bytes(wrong)
        refused(stored)


def test_a_damaged_section_is_named(stored: Path) -> None:
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    said = refused(stored)
    assert "section 5 (deflate, deflate) does not match its checksum; copy it again" in said


@pytest.mark.parametrize("share", [0.0, 0.002, 0.05, 0.3, 0.6, 0.999])
def test_a_file_cut_off_is_told(stored: Path, share: float) -> None:
    content = stored.read_bytes()
    stored.write_bytes(content[: int(share * len(content))])
    said = refused(stored)
    assert "cut off" in said or "ends within" in said or "no stored model" in said


def test_the_section_a_file_ends_in_is_named(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes()[:-3])
    assert "ends within section 5 (deflate, deflate), 3 bytes early" in refused(stored)


def test_bytes_after_the_last_section_are_told(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes() + b"more")
    assert "has 4 bytes after its last section" in refused(stored)


def test_another_kind_of_file_is_told(stored: Path) -> None:
    assert "is no stored model" in refused(stored.with_suffix(".onnx"))


def test_a_newer_form_says_upgrade(stored: Path) -> None:
    content = stored.read_bytes()
    stored.write_bytes(MAGIC + (VERSION + 1).to_bytes(4, "little") + content[12:])
    assert f"newer Netsuke (form {VERSION + 1}, this one reads {VERSION}); upgrade" in refused(
        stored
    )


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NetsukeError, match=r"none\.nsk: no such file"):
        unpack(tmp_path / "none.nsk", tmp_path / "out.onnx")
    with pytest.raises(NetsukeError, match=r"none\.onnx: no such file"):
        pack(tmp_path / "none.onnx", tmp_path / "out.nsk")


def _reheaded(stored: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite the header, checksum and all: what a hostile sender can do."""
    content = stored.read_bytes()
    _, _, written, _, _ = PREFIX.unpack(content[: PREFIX.size])
    head = json.loads(zlib.decompress(content[PREFIX.size : PREFIX.size + written]))
    change(head)
    plain = json.dumps(head).encode()
    packed = zlib.compress(plain)
    prefix = PREFIX.pack(MAGIC, VERSION, len(packed), len(plain), zlib.crc32(packed))
    stored.write_bytes(prefix + packed + content[PREFIX.size + written :])


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no sections": lambda h: h.update(sections=[]),
    "a length of text": lambda h: h.update(length="9"),
    "a negative size": lambda h: h["sections"][2].update(size=-1),
    "a length beyond the sections": lambda h: h.update(length=1 << 30),
    "a tensor of a terabyte": lambda h: (h.update(length=1 << 40), h["sections"][1].update(size=1 << 40)),
    "tensors that overlap": lambda h: h["sections"][2].update(at=h["sections"][1]["at"]),
    "a width of 7": lambda h: h["sections"][1].update(width=7),
    "a width that does not divide": lambda h: h["sections"][1].update(width=64, size=401),
    "a shape of text": lambda h: h["sections"][3].update(shape="wide"),
    "another shape": lambda h: h["sections"][3].update(shape=[400, 8]),
    "rows of no tensor": lambda h: h["sections"][3].update(shape=[]),
    "more table than there is": lambda h: h["sections"][2]["settings"].update(entries=10**9),
    "no table": lambda h: h["sections"][2]["settings"].clear(),
    "codes of 40 bits": lambda h: h["sections"][2]["settings"].update(bits=40),
    "another hash": lambda h: h.update(sha256="00" * 32),
    "half a hash": lambda h: h.update(sha256=None),
    "settings in a list": lambda h: h["sections"][2].update(settings=[1]),
    "a true length": lambda h: h["sections"][2].update(length=True),
}  # fmt: skip


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_header_is_refused(stored: Path, how: str) -> None:
    _reheaded(stored, HOSTILE[how])
    refused(stored)


def test_an_unknown_codec_says_upgrade(stored: Path) -> None:
    _reheaded(stored, lambda h: h["sections"][2].update(codec="rans"))
    assert "section 2 (table, rans) is written in a way this Netsuke does not know; upgrade" in refused(stored)  # fmt: skip


def test_codes_beyond_the_table_are_told(stored: Path) -> None:
    """The table's last entry is dropped, so that some codes point past its end."""
    content = bytearray(stored.read_bytes())
    heads: list[dict[str, Any]] = []
    _reheaded(stored, lambda h: heads.append(json.loads(json.dumps(h))))
    table = heads[0]["sections"][2]
    start = len(content) - sum(s["length"] for s in heads[0]["sections"][2:])
    payload = bytes(content[start : start + table["length"]])
    shorter = payload[:6] + b"\xff" * (table["length"] - 7)

    def drop(head: dict[str, Any]) -> None:
        head["sections"][2]["settings"]["entries"] = 6
        head["sections"][2].update(length=len(shorter), crc32=zlib.crc32(shorter))

    content[start : start + table["length"]] = shorter
    stored.write_bytes(content)
    _reheaded(stored, drop)
    assert "section 2 (table, table) does not decode" in refused(stored)


def test_a_bomb_is_not_inflated(stored: Path) -> None:
    """A section that inflates to 16 MB, declared as 1,500 bytes."""
    bomb = zlib.compress(bytes(1 << 24), 9)

    def arm(head: dict[str, Any]) -> None:
        head["sections"][5].update(length=len(bomb), crc32=zlib.crc32(bomb))

    last = len(stored.read_bytes())
    content = stored.read_bytes()
    lengths: list[int] = []
    _reheaded(stored, lambda h: lengths.append(h["sections"][5]["length"]))
    stored.write_bytes(content[: last - lengths[0]] + bomb)
    _reheaded(stored, arm)
    assert "section 5 (deflate, deflate) does not decode" in refused(stored)


def test_a_full_disk_is_told_before_writing(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 8, 1))  # type: ignore[attr-defined]
    with pytest.raises(
        NetsukeError, match=r"out\.onnx: needs [\d,]+ bytes and the disk has 1; make"
    ):
        unpack(stored, stored.with_name("out.onnx"))


def test_what_is_no_whole_onnx_file_is_not_packed(stored: Path) -> None:
    path = stored.with_suffix(".onnx")
    content = path.read_bytes()
    for wrong in (b"", b"{}", content[:-20], content[:11], bytes(500)):
        path.write_bytes(wrong)
        with pytest.raises(
            NetsukeError, match=r"model\.onnx: cannot be packed: .*; give one whole"
        ):
            pack(path, stored)
    outside = models.raw(1, (100,), b"", "w")
    outside.data_location = 1
    path.write_bytes(onnx_with(outside))
    with pytest.raises(NetsukeError, match="its weights lie in another file"):
        pack(path, stored)


def onnx_with(tensor: Any) -> bytes:
    import onnx

    return onnx.ModelProto(graph=onnx.GraphProto(initializer=[tensor])).SerializeToString()


def test_unpacking_needs_neither_torch_nor_onnx(stored: Path) -> None:
    out = stored.with_name("out.onnx")
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnx_ir', 'onnxruntime', 'jinja2'): sys.modules[name] = None\n"
        f"sys.argv = ['netsuke', 'unpack', {str(stored)!r}, '-o', {str(out)!r}]\n"
        "from netsuke.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert out.read_bytes() == stored.with_suffix(".onnx").read_bytes()
