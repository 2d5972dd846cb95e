"""A stored model that is damaged, cut off, newer or hostile: one clear line, nothing half-written."""

import io
import random
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import packer_models as models
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netsuke.core.errors import NetsukeError
from netsuke.packer import pack, unpack, unpack_stream
from netsuke.packer.header import (
    HEAD,
    MAGIC,
    PREFIX,
    VERSION,
    Header,
    Section,
    read_header,
    write_header,
)
from netsuke.packer.source import Source


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A model with sections of most codecs, stored; its ONNX file lies beside."""
    rng = np.random.default_rng(0)
    pruned = rng.normal(size=(40, 50)).astype(np.float32) * (rng.random((40, 50)) < 0.1)
    tensors = {
        "raw": rng.integers(0, 256, 1100).astype(np.uint8),
        "table": rng.integers(0, 8, (40, 50)).astype(np.int8),
        "scaled": (rng.integers(0, 4, (8, 400)) * rng.uniform(1, 2, (8, 1))).astype(np.float32),
        "planes": rng.normal(size=900).astype(np.float32),
        "sparse": pruned.astype(np.float32),
        "ans": np.rint(rng.laplace(0, 3, (30, 10, 3, 3))).astype(np.int8),
        "lzma": np.repeat(rng.integers(0, 256, 300), 5).astype(np.uint8),
    }
    path = models.saved(
        tmp_path / "model.onnx", *(models.tensor(v, name) for name, v in tensors.items())
    )
    made = pack(path, tmp_path / "model.nsk")
    assert {"the graph": "lzma", **{n: n for n in tensors}} == made.codecs
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
    assert "section 7 (lzma, lzma) does not match its checksum; copy it again" in said


@pytest.mark.parametrize("share", [0.0, 0.002, 0.05, 0.3, 0.6, 0.999])
def test_a_file_cut_off_is_told(stored: Path, share: float) -> None:
    content = stored.read_bytes()
    stored.write_bytes(content[: int(share * len(content))])
    said = refused(stored)
    assert "cut off" in said or "ends within" in said or "no stored model" in said


def test_the_section_a_file_ends_in_is_named(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes()[:-3])
    assert "ends within section 7 (lzma, lzma), 3 bytes early" in refused(stored)


def test_bytes_after_the_last_section_are_told(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes() + b"more")
    assert "goes on after its last section" in refused(stored)


def test_another_kind_of_file_is_told(stored: Path) -> None:
    assert "is no stored model" in refused(stored.with_suffix(".onnx"))


def test_a_newer_form_says_upgrade(stored: Path) -> None:
    content = stored.read_bytes()
    stored.write_bytes(MAGIC + (VERSION + 1).to_bytes(2, "little") + content[10:])
    assert f"newer Netsuke (form {VERSION + 1}, this one reads {VERSION}); upgrade" in refused(
        stored
    )


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NetsukeError, match=r"none\.nsk: no such file"):
        unpack(tmp_path / "none.nsk", tmp_path / "out.onnx")
    with pytest.raises(NetsukeError, match=r"none\.onnx: no such file"):
        pack(tmp_path / "none.onnx", tmp_path / "out.nsk")


def _read(stored: Path) -> tuple[Header, bytes]:
    """The header, and all that comes after it."""
    source = Source(io.BytesIO(stored.read_bytes()), "x")
    return read_header(source), source.file.read()


def _reheaded(stored: Path, change: Callable[[Header], Header]) -> None:
    """Rewrite the header, checksum and all: what a hostile sender can do."""
    header, body = _read(stored)
    stored.write_bytes(write_header(change(header)) + body)


def _with(header: Header, number: int, **fields: Any) -> Header:
    """The header with other fields in one section."""
    sections = list(header.sections)
    sections[number] = replace(sections[number], **fields)
    return replace(header, sections=tuple(sections))


HOSTILE: dict[str, Callable[[Header], Header]] = {
    "no sections": lambda h: replace(h, sections=()),
    "a section more": lambda h: replace(h, sections=(*h.sections, h.sections[-1])),
    "a section less": lambda h: replace(h, sections=h.sections[:-1]),
    "another length": lambda h: replace(h, length=h.length + 1),
    "a length beyond the sections": lambda h: replace(h, length=1 << 30),
    "a length of a terabyte": lambda h: replace(h, length=1 << 40),
    "a graph of a gigabyte": lambda h: replace(h, rest=1 << 30, length=1 << 30),
    "a graph of no bytes": lambda h: replace(h, rest=0),
    "a section of a terabyte": lambda h: _with(h, 1, length=1 << 40),
    "a section longer than its tensor": lambda h: _with(h, 7, length=9000),
    "more table than there is": lambda h: _with(h, 2, settings={"bits": 3, "entries": 10**9}),
    "codes of 40 bits": lambda h: _with(h, 2, settings={"bits": 40, "entries": 8}),
    "another codec": lambda h: _with(h, 6, codec="table", settings={"bits": 3, "entries": 8}),
    "integers by bytes": lambda h: _with(h, 6, codec="planes"),
    "floats as codes": lambda h: _with(h, 4, codec="ans"),
    "zeros of bytes": lambda h: _with(h, 6, codec="sparse"),
    "another hash": lambda h: replace(h, sha256="00" * 32),
    "an update": lambda h: replace(h, base="11" * 32),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_header_is_refused(stored: Path, how: str) -> None:
    _reheaded(stored, HOSTILE[how])
    refused(stored)


def test_a_difference_from_nothing_is_refused(stored: Path) -> None:
    for against in (1, 2, 3):
        header, body = _read(stored)
        stored.write_bytes(write_header(_with(header, 1, against=against)) + body)
        assert "header is not as it should be" in refused(stored)
        stored.write_bytes(write_header(header) + body)


def test_an_unknown_codec_says_upgrade(stored: Path) -> None:
    content = stored.read_bytes()
    length, _ = HEAD.unpack(content[PREFIX.size : PREFIX.size + HEAD.size])
    start = PREFIX.size + HEAD.size
    head = content[start : start + length].replace(b"planes", b"waves1")
    stored.write_bytes(
        content[: PREFIX.size]
        + HEAD.pack(length, zlib.crc32(head))
        + head
        + content[start + length :]
    )
    assert "is written in a way this Netsuke does not know ('waves1'); upgrade" in refused(stored)


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_under_a_right_checksum_is_told_by_the_codec_or_the_hash(
    stored: Path, data: st.DataObject
) -> None:
    """Bytes of a section changed, cut or added, its length and checksum mended: the worst a sender can
    do. Whatever a codec makes of it, no other file than the right one comes of it."""
    whole = stored.read_bytes()
    header, body = _read(stored)
    number = data.draw(st.integers(0, len(header.sections) - 1))
    start = sum(section.length for section in header.sections[:number])
    end = start + header.sections[number].length
    payload = bytearray(body[start:end])
    at = data.draw(st.integers(0, min(len(payload) - 1, 80)) | st.integers(0, len(payload) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "add"]))
    if how == "flip":
        payload[at] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del payload[at:]
    else:
        payload[at:at] = data.draw(st.binary(min_size=1, max_size=9))
    made = _with(header, number, length=len(payload), crc32=zlib.crc32(payload))
    try:
        stored.write_bytes(write_header(made) + body[:start] + payload + body[end:])
        unpack(stored, stored.with_name("out.onnx"))
        original = stored.with_suffix(".onnx").read_bytes()
        assert stored.with_name("out.onnx").read_bytes() == original
    except NetsukeError:
        stored.with_name("out.onnx").unlink(missing_ok=True)
    finally:
        stored.write_bytes(whole)


def test_a_bomb_is_not_inflated(stored: Path) -> None:
    """A section that inflates to 16 MB in place of one of 1,500 bytes."""
    header, body = _read(stored)
    for codec, bomb in (
        ("deflate", zlib.compress(bytes(1 << 24), 9)),
        ("deflate", zlib.compress(bytes(1 << 20), 9)),
    ):
        start = sum(section.length for section in header.sections[:-1])
        armed = Section(codec=codec, length=len(bomb), crc32=zlib.crc32(bomb))
        made = replace(header, sections=(*header.sections[:-1], armed))
        stored.write_bytes(write_header(made) + body[:start] + bomb)
        said = refused(stored)
        assert "does not decode" in said or "longer than what it holds" in said


def test_a_length_that_lies_makes_no_room(tmp_path: Path) -> None:
    """A header that claims 16 MB, and sections that claim gigabytes, of a file of some bytes."""
    import tracemalloc

    head = write_header(
        Header(
            length=1 << 31, sha256="00" * 32, rest=1 << 24,
            sections=(Section(codec="raw", length=1 << 24),) * 9,
        )
    )  # fmt: skip
    claims = PREFIX.pack(MAGIC, VERSION) + HEAD.pack(1 << 24, 0)
    for content in (head, claims, claims[:-4] + b"\xff" * 4):
        tracemalloc.start()
        with pytest.raises(NetsukeError):
            unpack_stream(io.BytesIO(content), tmp_path / "out.onnx")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 << 20


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
