"""Files that the first version wrote are read as before. ``data/form1.nsk`` is one of them."""

import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netsuke.core.errors import NetsukeError
from netsuke.packer import unpack
from netsuke.packer.form1 import PREFIX
from netsuke.packer.header import MAGIC

OLD = Path(__file__).parent / "data" / "form1.nsk"
SHA256 = "061fb867dc0af37356eabcb2e58fa7fe515c6f441e4c07c8ca3dccc99fe99c3b"
"""Of the ONNX file that it was packed from, taken when it was."""
AT = len(MAGIC) + 2


def test_a_file_of_form_1_expands_to_what_it_was_packed_from(tmp_path: Path) -> None:
    """Its sections are of every codec there was: raw, table, rows, halves, deflate."""
    unpack(OLD, tmp_path / "model.onnx")
    assert hashlib.sha256((tmp_path / "model.onnx").read_bytes()).hexdigest() == SHA256


def refused(content: bytes, folder: Path) -> str:
    (folder / "wrong.nsk").write_bytes(content)
    with pytest.raises(NetsukeError) as caught:
        unpack(folder / "wrong.nsk", folder / "model.onnx")
    assert not (folder / "model.onnx").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_damage_is_told(tmp_path: Path) -> None:
    content, rng = OLD.read_bytes(), np.random.default_rng(0)
    for at in {*range(30), *rng.integers(0, len(content), 80).tolist()}:
        wrong = bytearray(content)
        wrong[at] ^= int(rng.integers(1, 256))
        refused(bytes(wrong), tmp_path)
    for size in (5, 15, 100, len(content) - 3):
        refused(content[:size], tmp_path)
    assert "goes on after its last section" in refused(content + b"more", tmp_path)


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no sections": lambda h: h.update(sections=[]),
    "a length of text": lambda h: h.update(length="9"),
    "a negative size": lambda h: h["sections"][2].update(size=-1),
    "a length beyond the sections": lambda h: h.update(length=1 << 30),
    "a tensor of a terabyte": lambda h: (h.update(length=1 << 40), h["sections"][1].update(size=1 << 40)),
    "tensors that overlap": lambda h: h["sections"][2].update(at=h["sections"][1]["at"]),
    "a width of 7": lambda h: h["sections"][1].update(width=7),
    "another shape": lambda h: h["sections"][3].update(shape=[400, 8]),
    "rows of no tensor": lambda h: h["sections"][3].update(shape=[]),
    "more table than there is": lambda h: h["sections"][2]["settings"].update(entries=10**9),
    "no table": lambda h: h["sections"][2]["settings"].clear(),
    "codes of 40 bits": lambda h: h["sections"][2]["settings"].update(bits=40),
    "another hash": lambda h: h.update(sha256="00" * 32),
    "half a hash": lambda h: h.update(sha256=None),
    "settings in a list": lambda h: h["sections"][2].update(settings=[1]),
    "an unknown codec": lambda h: h["sections"][2].update(codec="waves"),
}  # fmt: skip


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_header_is_refused(how: str, tmp_path: Path) -> None:
    """The header rewritten, checksum and all: what a hostile sender can do."""
    content = OLD.read_bytes()
    written, _, _ = PREFIX.unpack(content[AT : AT + PREFIX.size])
    start = AT + PREFIX.size
    head = json.loads(zlib.decompress(content[start : start + written]))
    HOSTILE[how](head)
    plain = json.dumps(head).encode()
    packed = zlib.compress(plain)
    prefix = PREFIX.pack(len(packed), len(plain), zlib.crc32(packed))
    refused(content[:AT] + prefix + packed + content[start + written :], tmp_path)
