"""The widths of a nested model beside its ONNX file: ``model.widths.npz``.

An ONNX file at 4 bits differs from the one at 8 in scales and biases, which are few, and in codes,
which follow from those at 8 bits. So what is kept of it is the file with its codes blanked out, which
packs to almost nothing, and where in the 8-bit file each run of codes comes from.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsuke.core.artifact import widths_beside
from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside

FULL = 8
LEAST = 64
"""Bytes from which on a run of codes is worth an entry."""
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Widths:
    """What switches an ONNX file between widths: the file at 8 bits, and what is kept of the others.

    kept: bits → (the file without codes, rows of [place in it, place in the 8-bit file, number of codes, bits,
    codes a byte]).
    """

    full: bytes
    kept: Mapping[int, tuple[Bytes, NDArray[np.int64]]]

    @property
    def all(self) -> tuple[int, ...]:
        """Widest first."""
        return (FULL, *sorted(self.kept, reverse=True))

    def content(self, bits: int) -> bytes:
        """The ONNX file at this width. Raises NetsukeError where there is no such width."""
        if bits == FULL:
            return self.full
        if bits not in self.kept:
            raise NetsukeError(f"use: {bits} bits; this model has {', '.join(map(str, self.all))}")
        blank, places = self.kept[bits]
        made, source = blank.copy(), np.frombuffer(self.full, np.uint8)
        for to, start, count, kept, together in places.tolist():
            codes = narrowed(source[start : start + count].view(np.int8), kept)
            stored = packed(codes) if together == 2 else codes.view(np.uint8)
            made[to : to + len(stored)] = stored
        return made.tobytes()


def narrowed(codes: NDArray[np.int8], bits: int) -> NDArray[np.int8]:
    """The upper bits of 8-bit codes, as odd numbers of half-steps."""
    if bits == FULL:
        return codes
    return (2 * (codes >> (FULL - bits)) + 1).astype(np.int8)


def packed(codes: NDArray[np.int8]) -> Bytes:
    """Codes of 4 bits, two a byte, the first in the lower half: how ONNX has them."""
    even = np.append(codes, np.int8(0)) if len(codes) % 2 else codes
    halves = even.view(np.uint8) & 0x0F
    return (halves[::2] | halves[1::2] << 4).astype(np.uint8)


def write(path: Path, full: bytes, others: Mapping[int, bytes]) -> None:
    """Keep the ONNX files of other widths beside the one at 8 bits.

    What is read back is each file to the byte: asserted before it is written.
    """
    kept = {bits: _blanked(content, full, bits) for bits, content in others.items()}
    widths = Widths(full, kept)
    for bits, content in others.items():
        assert widths.content(bits) == content
    held: dict[str, NDArray[Any]] = {"of": np.frombuffer(hashlib.sha256(full).digest(), np.uint8)}
    for bits, (blank, places) in kept.items():
        held |= {f"file{bits}": blank, f"places{bits}": places}
    memory = io.BytesIO()
    np.savez_compressed(memory, **held)  # type: ignore[arg-type]
    with beside(widths_beside(path)) as draft:
        draft.write_bytes(memory.getvalue())


def read(path: Path) -> Widths | None:
    """The widths kept beside an ONNX file; None where there are none.

    Raises NetsukeError where they cannot be read, or are those of another file.
    """
    home = widths_beside(path)
    if not home.is_file():
        return None
    from zipfile import BadZipFile  # here, for it takes a megabyte of those who have no widths

    full = path.read_bytes()
    try:
        with np.load(home, allow_pickle=False) as held:
            of = held["of"].tobytes()
            bits = [int(name.removeprefix("file")) for name in held if name.startswith("file")]
            kept = {b: (held[f"file{b}"], held[f"places{b}"]) for b in bits}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise NetsukeError(f"{home}: is damaged ({error}); fit again") from error
    if of != hashlib.sha256(full).digest():
        raise NetsukeError(f"{home}: belongs to another file than {path.name}; fit again")
    return Widths(full, kept)


def _blanked(content: bytes, full: bytes, bits: int) -> tuple[Bytes, NDArray[np.int64]]:
    """A file with the codes that follow from the 8-bit file's blanked out, and where they were."""
    import onnx

    known = [
        np.frombuffer(t.raw_data, np.int8) for t in onnx.load_from_string(full).graph.initializer
        if t.data_type == onnx.TensorProto.INT8 and len(t.raw_data) >= LEAST
    ]  # fmt: skip
    together = {onnx.TensorProto.INT8: 1, onnx.TensorProto.INT4: 2}
    sources = {}
    for codes in known:
        for width in (bits, FULL):
            own = narrowed(codes, width)
            sources[1, own.tobytes()] = sources[2, packed(own).tobytes()] = (codes.tobytes(), width)
    blank, places = np.frombuffer(content, np.uint8).copy(), []
    for tensor in onnx.load_from_string(content).graph.initializer:
        count = together.get(tensor.data_type, 0)
        if (count, tensor.raw_data) in sources:
            held, width = sources[count, tensor.raw_data]
            to = content.index(tensor.raw_data)
            places.append((to, full.index(held), len(held), width, count))
            blank[to : to + len(tensor.raw_data)] = 0
    return blank, np.array(places, np.int64).reshape(-1, 5)
