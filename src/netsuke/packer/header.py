"""The header of a stored model: what cannot be read off the ONNX file itself, checked before it is
believed."""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from netsuke.core.errors import NetsukeError
from netsuke.packer.codecs import codecs
from netsuke.packer.entropy.bits import Cursor, varint
from netsuke.packer.source import Source

# The first byte and the line ends tell a file that went through a text transfer, as in PNG.
MAGIC = b"\x89NSK\r\n\x1a\n"
VERSION = 1
PREFIX = struct.Struct("<8sH")
"""Magic and version."""
HEAD = struct.Struct("<II")
"""Bytes of the header, CRC-32 of it."""
CRC = struct.Struct("<I")
LARGEST = 1 << 31
"""Bytes of an ONNX file: protobuf holds no more."""
LONGEST = 1 << 24
"""Bytes of a header, and of what lies between the tensors: both are held in memory."""
OWN, DIFFERENCE, SAME = range(3)
"""A block is written for itself, as its difference from the base's, or is the base's."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """How one block is written. codec: by name. settings: what it needs. length, crc32: of the section
    as written. against: OWN, DIFFERENCE or SAME; of what is SAME nothing else is known or written."""

    codec: str = ""
    settings: Mapping[str, int] = field(default_factory=dict)
    length: int = 0
    crc32: int = 0
    against: int = OWN


@dataclass(frozen=True, kw_only=True)
class Header:
    """length, sha256: of the ONNX file. base: sha256 of the one that it is an update of, or nothing.
    rest: bytes of all that is between the tensors. sections: the rest first, then the blocks of
    ``packer.layout``; they follow one another in the stored file."""

    length: int
    sha256: str
    base: str = ""
    rest: int = 0
    sections: tuple[Section, ...] = ()


def write_header(header: Header) -> bytes:
    """All that stands before the sections."""
    names = sorted({section.codec for section in header.sections if section.codec})
    parts = [
        varint(header.length), bytes.fromhex(header.sha256),
        bytes([bool(header.base)]), bytes.fromhex(header.base),
        varint(header.rest), _text(",".join(names)), varint(len(header.sections)),
    ]  # fmt: skip
    for section in header.sections:
        if section.against == SAME:
            parts.append(bytes([SAME]))
            continue
        parts.append(varint(section.against | names.index(section.codec) << 2))
        fields = codecs()[section.codec].fields
        parts += [varint(section.settings[name]) for name in fields]
        parts += [varint(section.length), CRC.pack(section.crc32)]
    head = b"".join(parts)
    return PREFIX.pack(MAGIC, VERSION) + HEAD.pack(len(head), zlib.crc32(head)) + head


def _check_version(source: Source) -> None:
    start = source.take(PREFIX.size)
    if start[: len(MAGIC)] != MAGIC[: len(start)] or not start:
        raise NetsukeError(f"{source.label}: is no stored model (.nsk); netsuke pack makes one")
    if len(start) < PREFIX.size:
        raise source.damaged("ends within its first bytes")
    version = int(PREFIX.unpack(start)[1])
    if version > VERSION:
        raise NetsukeError(
            f"{source.label}: stored by a newer Netsuke (form {version}, this one reads {VERSION}); upgrade"
        )
    if version < 1:
        raise source.damaged("its header is cut off or damaged")


def read_header(source: Source) -> Header:
    """The header of a stored model; the source is left where its sections start. Raises NetsukeError
    where it is none or of a newer version, damaged, or has what this Netsuke does not know."""
    _check_version(source)
    length, crc = HEAD.unpack(source.whole(HEAD.size, "its first bytes"))
    if length > LONGEST:
        raise source.damaged("its header is cut off or damaged")
    head = source.whole(length, "its header")
    if zlib.crc32(head) != crc:
        raise source.damaged("its header does not match its checksum")
    try:
        return _parsed(Cursor(memoryview(head)))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise source.damaged(f"its header is not as it should be ({error})") from error
    except KeyError as error:
        raise NetsukeError(
            f"{source.label}: is written in a way this Netsuke does not know ({error}); upgrade"
        ) from error


def _parsed(cursor: Cursor) -> Header:
    length, sha256 = cursor.varint(), bytes(cursor.bytes(32)).hex()
    base = bytes(cursor.bytes(32)).hex() if cursor.byte() else ""
    rest = cursor.varint()
    names = bytes(cursor.bytes(cursor.varint())).decode("utf8").split(",")
    count = cursor.varint()
    if length > LARGEST or rest > min(length, LONGEST) or count > len(cursor.rest):
        raise ValueError("its sections are not as long as the model")
    sections = tuple(_section(cursor, names, bool(base)) for _ in range(count))
    if len(cursor.rest):
        raise ValueError("it goes on after its last section")
    return Header(length=length, sha256=sha256, base=base, rest=rest, sections=sections)


def _section(cursor: Cursor, names: list[str], based: bool) -> Section:
    key = cursor.varint()
    against = key & 3
    if against > (SAME if based else OWN):
        raise ValueError("a section is the difference from nothing")
    if against == SAME:
        return Section(against=SAME)
    codec = names[key >> 2]
    settings = {name: cursor.varint() for name in codecs()[codec].fields}
    length, (crc,) = cursor.varint(), CRC.unpack(cursor.bytes(CRC.size))
    return Section(codec=codec, settings=settings, length=length, crc32=crc, against=against)


def _text(text: str) -> bytes:
    return varint(len(text.encode("utf8"))) + text.encode("utf8")
