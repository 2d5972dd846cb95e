"""The header of a stored model: what its sections are, in JSON, checked before it is believed."""

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from netsuke.core.errors import NetsukeError
from netsuke.packer.block import WIDTHS, Form
from netsuke.packer.codecs.deflate import deflate, inflate

# The first byte and the line ends tell a file that went through a text transfer, as in PNG.
MAGIC = b"\x89NSK\r\n\x1a\n"
VERSION = 1
PREFIX = struct.Struct("<8sHIII")
"""Magic, version, bytes of the header as written, bytes of its JSON, CRC-32 of it as written."""
RATIO = 1100
"""Deflate makes no more of a byte than 1,032."""
LARGEST = 1 << 31
"""Bytes of an ONNX file: protobuf holds no more."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A run of bytes of the ONNX file and how it is written here.

    codec: by name. at, size: where the bytes stand in the ONNX file; of the first section, which is
    all that is between the others, ``at`` is 0. name, dtype, shape, width: of the tensor. length,
    crc32: of the section as written. settings: what the codec needs.
    """

    codec: str
    at: int
    size: int
    length: int
    crc32: int
    name: str = ""
    dtype: str = "uint8"
    width: int = 8
    shape: tuple[int, ...] = ()
    settings: Mapping[str, int] = field(default_factory=dict)

    @property
    def form(self) -> Form:
        return Form(self.width, self.shape, self.size)


@dataclass(frozen=True, kw_only=True)
class Header:
    """length, sha256: of the ONNX file. sections: the rest first, then the tensors in their order;
    they follow one another in the stored file."""

    length: int
    sha256: str
    sections: tuple[Section, ...]


def write_header(header: Header) -> bytes:
    """All that stands before the sections."""
    plain = json.dumps(asdict(header), separators=(",", ":")).encode("utf8")
    packed = deflate(plain)
    return PREFIX.pack(MAGIC, VERSION, len(packed), len(plain), zlib.crc32(packed)) + packed


def read_header(file: BinaryIO, path: Path) -> Header:
    """The header of a stored model, and the file left where its sections start.

    Raises NetsukeError naming the file where it is none, damaged, cut off or of a newer version.
    """
    total = path.stat().st_size
    start = file.read(PREFIX.size)
    if start[: len(MAGIC)] != MAGIC[: len(start)] or not start:
        raise NetsukeError(f"{path}: is no stored model (.nsk); netsuke pack makes one")
    if len(start) < PREFIX.size:
        raise damaged(path, "ends within its first bytes")
    _, version, written, plain, crc = PREFIX.unpack(start)
    if version > VERSION:
        raise NetsukeError(
            f"{path}: stored by a newer Netsuke (form {version}, this one reads {VERSION}); upgrade"
        )
    if version < 1 or written > total - PREFIX.size or plain > RATIO * written:
        raise damaged(path, "its header is cut off or damaged")
    packed = file.read(written)
    if zlib.crc32(packed) != crc:
        raise damaged(path, "its header does not match its checksum")
    try:
        header = _parse(json.loads(b"".join(inflate(packed, plain))))
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error, RecursionError) as error:
        raise damaged(path, f"its header is not as it should be ({error})") from error
    _check_length(header, total - PREFIX.size - written, path)
    return header


def damaged(path: Path, how: str) -> NetsukeError:
    """The error for a file that did not come whole."""
    return NetsukeError(f"{path}: {how}; copy it again, or pack its model.onnx again")


def _check_length(header: Header, there: int, path: Path) -> None:
    """Raise where the sections do not fill the file, naming the one it ends in."""
    end = 0
    for number, section in enumerate(header.sections):
        end += section.length
        if end > there:
            missing = end - there
            raise damaged(path, f"ends within {title(number, section)}, {missing:,} bytes early")
    if end != there:
        raise damaged(path, f"has {there - end:,} bytes after its last section")


def title(number: int, section: Section) -> str:
    """What messages call a section."""
    return f"section {number} ({section.name or 'unnamed'}, {section.codec})"


def _parse(data: Any) -> Header:
    sections = tuple(_section(item) for item in data["sections"])
    header = Header(length=_number(data["length"]), sha256=str(data["sha256"]), sections=sections)
    rest, *tensors = sections
    end = 0
    for section in tensors:
        if section.at < end or not section.size:
            raise ValueError(f"{section.name!r} stands where another tensor does")
        end = section.at + section.size
    held = sum(section.size for section in sections)
    if header.length > LARGEST or end > header.length or held != header.length or rest.at:
        raise ValueError("its sections are not as long as the model")
    return header


def _section(data: Mapping[str, Any]) -> Section:
    section = Section(
        codec=str(data["codec"]), at=_number(data["at"]), size=_number(data["size"]),
        length=_number(data["length"]), crc32=_number(data["crc32"]), name=str(data["name"]),
        dtype=str(data["dtype"]), width=_number(data["width"]),
        shape=tuple(_number(size) for size in data["shape"]),
        settings={str(key): _number(value) for key, value in data["settings"].items()},
    )  # fmt: skip
    if section.width not in WIDTHS or section.size * 8 % section.width:
        raise ValueError(f"elements of {section.width} bits")
    return section


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 40:
        raise ValueError(f"{value!r} is no count")
    return value
