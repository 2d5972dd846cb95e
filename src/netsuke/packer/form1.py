"""Stored models of form 1, as versions before wrote them: read, not written any more.

Their header is deflated JSON that names every tensor and where it stands.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from netsuke.core.errors import NetsukeError
from netsuke.packer.block import WIDTHS, Form
from netsuke.packer.codecs import codecs
from netsuke.packer.codecs.deflate import inflate
from netsuke.packer.source import Source

PREFIX = struct.Struct("<III")
"""After the version: bytes of the header as written, bytes of its JSON, CRC-32 of it as written."""
RATIO = 1100
"""Deflate makes no more of a byte than 1,032."""
LONGEST = 1 << 24
"""Bytes of a header."""
LARGEST = 1 << 31
"""Bytes of an ONNX file: protobuf holds no more."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A run of bytes of the ONNX file and how it is written here.

    codec: by name. at, size: where the bytes stand in the ONNX file; of the first section, which is
    all that is between the others, ``at`` is 0. name, form: of the tensor. length, crc32: of the
    section as written. settings: what the codec needs.
    """

    codec: str
    at: int
    length: int
    crc32: int
    name: str
    form: Form
    settings: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Header:
    """length, sha256: of the ONNX file. sections: the rest first, then the tensors in their order."""

    length: int
    sha256: str
    sections: tuple[Section, ...]


def read_header(source: Source) -> Header:
    """The header, after its version. Raises NetsukeError where it is damaged."""
    written, plain, crc = PREFIX.unpack(source.whole(PREFIX.size, "its first bytes"))
    if written > LONGEST or plain > min(4 * LONGEST, RATIO * written):
        raise source.damaged("its header is cut off or damaged")
    packed = source.whole(written, "its header")
    if zlib.crc32(packed) != crc:
        raise source.damaged("its header does not match its checksum")
    try:
        return _parsed(json.loads(b"".join(inflate(packed, plain))))
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error, RecursionError) as error:
        raise source.damaged(f"its header is not as it should be ({error})") from error


def pieces(source: Source, header: Header) -> Iterator[bytes]:
    """The ONNX file in order: the rest up to a tensor, the tensor, the rest up to the next."""
    rest, *large = header.sections
    between = _Cut(_decoded(source, 0, rest))
    at = 0
    for number, section in enumerate(large, 1):
        yield from between.take(section.at - at)
        yield from _decoded(source, number, section)
        at = section.at + section.form.size
    yield from between.take(header.length - at)


def _decoded(source: Source, number: int, section: Section) -> Iterator[bytes]:
    """One section's bytes. Its payload is read when this is called, not when it is iterated over."""
    title = f"section {number} ({section.name or 'unnamed'}, {section.codec})"
    payload = source.whole(section.length, title)
    if zlib.crc32(payload) != section.crc32:
        raise source.damaged(f"{title} does not match its checksum")
    codec = codecs().get(section.codec)
    if codec is None:
        raise NetsukeError(
            f"{source.label}: {title} is written in a way this Netsuke does not know; upgrade"
        )
    made = codec.decode(memoryview(payload), section.form, section.settings)
    return _checked(made, section.form.size, source.damaged(f"{title} does not decode"))


def _checked(made: Iterator[bytes], size: int, error: NetsukeError) -> Iterator[bytes]:
    """The pieces, if they are as long as the section says."""
    try:
        for piece in made:
            size -= len(piece)
            yield piece
    except (ValueError, KeyError, IndexError, zlib.error) as cause:
        raise error from cause
    if size:
        raise error


class _Cut:
    """A stream of pieces taken so many bytes at a time."""

    def __init__(self, made: Iterator[bytes]) -> None:
        self._pieces, self._held = made, b""

    def take(self, count: int) -> Iterator[bytes]:
        while count:
            self._held = self._held or next(self._pieces)
            piece, self._held = self._held[:count], self._held[count:]
            count -= len(piece)
            yield piece


def _parsed(data: Any) -> Header:
    sections = tuple(_section(item) for item in data["sections"])
    header = Header(length=_number(data["length"]), sha256=str(data["sha256"]), sections=sections)
    rest, *tensors = sections
    end = 0
    for section in tensors:
        if section.at < end or not section.form.size:
            raise ValueError(f"{section.name!r} stands where another tensor does")
        end = section.at + section.form.size
    held = sum(section.form.size for section in sections)
    if header.length > LARGEST or end > header.length or held != header.length or rest.at:
        raise ValueError("its sections are not as long as the model")
    return header


def _section(data: Mapping[str, Any]) -> Section:
    shape = tuple(_number(size) for size in data["shape"])
    form = Form(_number(data["width"]), shape, _number(data["size"]))
    if form.width not in WIDTHS or form.size * 8 % form.width:
        raise ValueError(f"elements of {form.width} bits")
    return Section(
        codec=str(data["codec"]), at=_number(data["at"]), length=_number(data["length"]),
        crc32=_number(data["crc32"]), name=str(data["name"]), form=form,
        settings={str(key): _number(value) for key, value in data["settings"].items()},
    )  # fmt: skip


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 40:
        raise ValueError(f"{value!r} is no count")
    return value
