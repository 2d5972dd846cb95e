"""A stored model written and read: header, then sections, each with its checksum."""

import hashlib
import mmap
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside
from netsuke.packer.block import Form
from netsuke.packer.codecs import codecs, smallest
from netsuke.packer.codecs.deflate import deflate
from netsuke.packer.header import Header, Section, damaged, read_header, title, write_header
from netsuke.packer.wire import Tensor, tensors

SMALLEST = 256
"""Bytes of a tensor that gets a section; smaller ones stay among the rest."""
DAMAGE = (ValueError, KeyError, IndexError, zlib.error)


@dataclass(frozen=True)
class Packed:
    """A stored model in memory. header: of the file. payloads: its sections as written."""

    header: Header
    payloads: tuple[bytes, ...]

    @property
    def content(self) -> Iterator[bytes]:
        """The file, in pieces."""
        yield write_header(self.header)
        yield from self.payloads

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(len(piece) for piece in self.content)


def packed(source: Path) -> Packed:
    """An ONNX file packed. Raises NetsukeError where it is missing, no whole ONNX file, or has its
    weights in another file."""
    try:
        with (
            source.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held,
            memoryview(held) as content,
        ):
            return _packed(content)
    except FileNotFoundError as error:
        raise NetsukeError(f"{source}: no such file; give an .onnx file") from error
    except ValueError as error:
        raise NetsukeError(
            f"{source}: cannot be packed: {error}; give one whole .onnx file"
        ) from error


def pack(source: Path, target: Path) -> Packed:
    """Write the stored form of the ONNX file ``source`` at ``target``, whole or not at all.

    Raises NetsukeError where ``source`` is missing, no whole ONNX file, or has its weights in
    another file.
    """
    made = packed(source)
    with beside(target) as draft, draft.open("wb") as file:
        file.writelines(made.content)
    return made


def unpack(source: Path, target: Path) -> Header:
    """Write the ONNX file that ``source`` was packed from at ``target``, to the byte.

    Raises NetsukeError naming file and section where ``source`` is damaged, cut off, of a newer
    version or no stored model; ``target`` is then left as it was.
    """
    try:
        with source.open("rb") as file, beside(target) as draft:
            header = read_header(file, source)
            _check_room(header, target)
            digest = hashlib.sha256()
            with draft.open("wb") as out:
                for piece in _pieces(file, header, source):
                    digest.update(piece)
                    out.write(piece)
            if digest.hexdigest() != header.sha256:
                raise damaged(source, "does not expand to the model it was packed from")
            return header
    except FileNotFoundError as error:
        raise NetsukeError(f"{source}: no such file; give an .nsk file") from error


def _packed(content: memoryview) -> Packed:
    large = [tensor for tensor in tensors(content) if tensor.size >= SMALLEST]
    rest, end = [], 0
    for tensor in large:
        rest.append(bytes(content[end : tensor.start]))
        end = tensor.start + tensor.size
    between = b"".join([*rest, content[end:]])
    first = deflate(between)
    made = [_coded(content, tensor) for tensor in large]
    sections = [
        Section(codec="deflate", at=0, size=len(between), length=len(first), crc32=zlib.crc32(first)),
        *(section for section, _ in made),
    ]  # fmt: skip
    header = Header(
        length=len(content), sha256=hashlib.sha256(content).hexdigest(), sections=tuple(sections)
    )
    return Packed(header, (first, *(payload for _, payload in made)))


def _coded(content: memoryview, tensor: Tensor) -> tuple[Section, bytes]:
    """A tensor in the fewest bytes."""
    raw = content[tensor.start : tensor.start + tensor.size]
    codec, (payload, settings) = smallest(raw, Form(tensor.width, tensor.shape, tensor.size))
    section = Section(
        codec=codec, at=tensor.start, size=tensor.size, length=len(payload),
        crc32=zlib.crc32(payload), name=tensor.name, dtype=tensor.dtype, width=tensor.width,
        shape=tensor.shape, settings=settings,
    )  # fmt: skip
    return section, payload


def _pieces(file: BinaryIO, header: Header, path: Path) -> Iterator[bytes]:
    """The ONNX file in order: the rest up to a tensor, the tensor, the rest up to the next."""
    rest, *large = header.sections
    between = _Cut(_decoded(file, 0, rest, path))
    at = 0
    for number, section in enumerate(large, 1):
        yield from between.take(section.at - at)
        yield from _decoded(file, number, section, path)
        at = section.at + section.size
    yield from between.take(header.length - at)


def _decoded(file: BinaryIO, number: int, section: Section, path: Path) -> Iterator[bytes]:
    """One section's bytes. Its payload is read when this is called, not when it is iterated over."""
    payload = file.read(section.length)
    if len(payload) != section.length or zlib.crc32(payload) != section.crc32:
        raise damaged(path, f"{title(number, section)} does not match its checksum")
    codec = codecs().get(section.codec)
    if codec is None:
        raise NetsukeError(
            f"{path}: {title(number, section)} is written in a way this Netsuke does not know; upgrade"
        )
    pieces = codec.decode(memoryview(payload), section.form, section.settings)
    return _checked(pieces, section, damaged(path, f"{title(number, section)} does not decode"))


def _checked(pieces: Iterator[bytes], section: Section, error: NetsukeError) -> Iterator[bytes]:
    """The pieces, if they are as long as the section says."""
    left = section.size
    try:
        for piece in pieces:
            left -= len(piece)
            yield piece
    except DAMAGE as cause:
        raise error from cause
    if left:
        raise error


class _Cut:
    """A stream of pieces taken so many bytes at a time."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._held = pieces, b""

    def take(self, count: int) -> Iterator[bytes]:
        while count:
            self._held = self._held or next(self._pieces)
            piece, self._held = self._held[:count], self._held[count:]
            count -= len(piece)
            yield piece


def _check_room(header: Header, target: Path) -> None:
    free = shutil.disk_usage(target.parent).free
    if header.length > free:
        raise NetsukeError(
            f"{target}: needs {header.length:,} bytes and the disk has {free:,}; make room"
        )
