"""The values of one tensor as a codec sees them: whole numbers of so many bits, nothing else."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
WIDTHS = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Form:
    """What is known of a block without its values. width: bits of an element, one of 2, 4, 8, 16,
    32 and 64. shape: of the tensor. size: bytes it takes in the ONNX file."""

    width: int
    shape: tuple[int, ...]
    size: int

    @property
    def count(self) -> int:
        """Elements; those of less than a byte with the spare places of the last one."""
        return self.size * 8 // self.width

    @property
    def together(self) -> int:
        """How many elements share a byte."""
        return max(1, 8 // self.width)

    @property
    def mask(self) -> int:
        """The bits that an element of less than a byte may have."""
        return (1 << min(8, self.width)) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The unsigned integer that holds an element's bits."""
        return np.dtype(f"<u{max(1, self.width // 8)}")

    @property
    def is_whole(self) -> bool:
        """Whether the elements are as many as the shape says."""
        return math.prod(self.shape) == self.count


def elements(raw: bytes | memoryview, form: Form) -> Array:
    """The bit patterns of a block's elements, as unsigned integers, one dimension."""
    plain = np.frombuffer(raw, np.uint8)
    if form.together > 1:
        return (plain[:, None] >> _places(form) & np.uint8(form.mask)).reshape(-1)
    return plain.view(form.dtype)


def raw_bytes(values: Array, form: Form) -> bytes:
    """The opposite of ``elements``, for all of a block or a run of whole bytes."""
    if form.together > 1:
        parts = values.astype(np.uint8).reshape(-1, form.together) << _places(form)
        together: Array = np.bitwise_or.reduce(parts, axis=1)
        return together.tobytes()
    return values.astype(form.dtype, copy=False).tobytes()


def _places(form: Form) -> Array:
    """By how many bits the elements of one byte are shifted, the first not at all."""
    return np.arange(0, 8, form.width, dtype=np.uint8)


def bits_for(count: int) -> int:
    """Bits of a code that tells ``count`` values apart: 0 for one, 4 for 9 to 16."""
    return (count - 1).bit_length()


def pack_bits(codes: Array, bits: int) -> bytes:
    """Codes of ``bits`` bits (0 to 16) one after the other, lowest bit first, the end padded."""
    wide = np.ascontiguousarray(codes, "<u2").view(np.uint8).reshape(-1, 2)
    parts = []
    for start in range(0, len(wide), CHUNK):
        loose = np.unpackbits(wide[start : start + CHUNK], axis=1, bitorder="little")
        parts.append(np.packbits(loose[:, :bits].reshape(-1), bitorder="little").tobytes())
    return b"".join(parts)


def unpack_bits(packed: bytes | memoryview, bits: int, count: int) -> Array:
    """The opposite of ``pack_bits``: ``count`` codes. Raises ValueError where there are too few bytes."""
    plain = np.frombuffer(packed, np.uint8)
    if len(plain) < packed_size(count, bits):
        raise ValueError("its codes end early")
    codes = np.zeros((count, 2), np.uint8)
    for start in range(0, count if bits else 0, CHUNK):
        here = min(CHUNK, count - start)
        run = plain[start * bits // 8 : (start * bits + here * bits + 7) // 8]
        loose = np.unpackbits(run, count=here * bits, bitorder="little").reshape(here, bits)
        tight = np.packbits(loose, axis=1, bitorder="little")
        codes[start : start + here, : tight.shape[1]] = tight
    return codes.view("<u2").reshape(-1)


def packed_size(count: int, bits: int) -> int:
    """Bytes that so many codes take."""
    return (count * bits + 7) // 8


CHUNK = 1 << 16
"""Codes worked on at a time; a multiple of 8, so that every run starts at a byte."""
