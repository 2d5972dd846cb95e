"""A stored model expanded to its ONNX file, front to back, a part of a tensor at a time."""

import hashlib
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside
from netsuke.packer.base import Base, added, opened
from netsuke.packer.block import Form
from netsuke.packer.codecs import codecs
from netsuke.packer.codecs.deflate import inflate
from netsuke.packer.header import OWN, SAME, Header, Section, read_header
from netsuke.packer.layout import Block, Plan, Span, planned
from netsuke.packer.source import Source
from netsuke.packer.wire import tensors_of_rest

DAMAGE = (ValueError, KeyError, IndexError, UnicodeDecodeError, zlib.error)
"""What reading damaged bytes may raise."""


def unpack(source: Path, target: Path, since: Path | None = None) -> Header:
    """Write the ONNX file that ``source`` was packed from at ``target``, to the byte. since: the model
    that it is an update of: an .onnx or .nsk file, or a run.

    Raises NetsukeError naming file and section where ``source`` is damaged, cut off, of a newer
    version, no stored model, or an update of another model; ``target`` is then left as it was.
    """
    try:
        with source.open("rb") as file:
            return unpack_stream(file, target, since, str(source))
    except FileNotFoundError as error:
        raise NetsukeError(f"{source}: no such file; give an .nsk file") from error


def unpack_stream(
    file: BinaryIO, target: Path, since: Path | None = None, label: str = "the input"
) -> Header:
    """The same from an open file or a pipe, read once and forwards."""
    source = Source(file, label)
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened(since, target.parent) as base, beside(target) as draft:
        header = read_header(source)
        _check_base(header, base, source.label)
        _check_room(header, target)
        digest = hashlib.sha256()
        with draft.open("wb") as out:
            for piece in _Reader(source, header, base).pieces():
                digest.update(piece)
                out.write(piece)
        source.ended()
        if digest.hexdigest() != header.sha256:
            raise source.damaged("does not expand to the model it was packed from")
        return header


@dataclass(frozen=True)
class _Reader:
    """Reads the sections of one stored model."""

    source: Source
    header: Header
    base: Base | None

    def pieces(self) -> Iterator[bytes]:
        """The ONNX file in order: the rest up to a tensor, the tensor, the rest up to the next."""
        rest = self._rest(self.header.sections[0]) if self.header.sections else b""
        plan = self._plan(rest)
        small = [self._cut(number, block) for number, block in enumerate(plan.small, 1)]
        held = {span.start: piece for cut in small for span, piece in cut}
        large = enumerate(plan.large, 1 + len(plan.small))
        numbers = {block.spans[0].start: (number, block) for number, block in large}
        at = taken = 0
        for start in sorted([*held, *numbers]):
            yield rest[taken : taken + start - at]
            taken, at = taken + start - at, start
            for piece in [held.pop(start)] if start in held else self._block(*numbers[start]):
                at += len(piece)
                yield piece
        yield rest[taken:]

    def _plan(self, rest: bytes) -> Plan:
        try:
            plan = planned(tensors_of_rest(memoryview(rest), self.header.length))
        except DAMAGE as error:
            raise self.source.damaged(f"its graph is not as it should be ({error})") from error
        if len(plan.blocks) + 1 != len(self.header.sections):
            raise self.source.damaged("has not as many sections as its graph has tensors")
        return plan

    def _rest(self, section: Section) -> bytes:
        form = Form(8, (self.header.rest,), self.header.rest)
        title = self._title(0, "the graph")
        if section.against == OWN:
            return b"".join(self._checked(self._decoded(section, form, title), form.size, title))
        assert self.base, "the header was checked"
        if section.against == SAME:
            pieces = iter([self.base.rest])
        else:
            payload = self._payload(section, form, title)
            pieces = inflate(payload, form.size, dictionary=self.base.rest)
        return b"".join(self._checked(pieces, form.size, title))

    def _cut(self, number: int, block: Block) -> list[tuple[Span, bytes]]:
        """A block of several tensors, cut into them."""
        whole, cut, at = b"".join(self._block(number, block)), [], 0
        for span in block.spans:
            cut.append((span, whole[at : at + span.size]))
            at += span.size
        return cut

    def _block(self, number: int, block: Block) -> Iterator[bytes]:
        section, title = self.header.sections[number], self._title(number, block.name)
        if section.against == OWN:
            pieces = self._decoded(section, block.form, title)
        else:
            old = self.base.block(block) if self.base else None
            if old is None:
                raise self.source.damaged(f"{title} updates a tensor that is not there")
            pieces = iter([old])
            if section.against != SAME:
                pieces = _sums(self._decoded(section, block.form, title), old, block.form)
        yield from self._checked(pieces, block.form.size, title)

    def _decoded(self, section: Section, form: Form, title: str) -> Iterator[bytes]:
        payload = self._payload(section, form, title)
        return codecs()[section.codec].decode(memoryview(payload), form, section.settings)

    def _payload(self, section: Section, form: Form, title: str) -> bytes:
        if section.length > form.size:
            raise self.source.damaged(f"{title} claims to be longer than what it holds")
        payload = self.source.whole(section.length, title)
        if zlib.crc32(payload) != section.crc32:
            raise self.source.damaged(f"{title} does not match its checksum")
        return payload

    def _checked(self, pieces: Iterator[bytes], size: int, title: str) -> Iterator[bytes]:
        """The pieces, if they are as long as they should be."""
        left = size
        try:
            for piece in pieces:
                left -= len(piece)
                if left < 0:
                    break
                yield piece
        except DAMAGE as cause:
            raise self.source.damaged(f"{title} does not decode") from cause
        if left:
            raise self.source.damaged(f"{title} does not decode")

    def _title(self, number: int, name: str) -> str:
        """What messages call a section."""
        codec = self.header.sections[number].codec
        return f"section {number} ({name or 'unnamed'}{', ' + codec if codec else ''})"


def _sums(pieces: Iterator[bytes], old: bytes, form: Form) -> Iterator[bytes]:
    at = 0
    for piece in pieces:
        yield added(piece, old[at : at + len(piece)], form)
        at += len(piece)


def _check_base(header: Header, base: Base | None, label: str) -> None:
    given = base.sha256 if base else ""
    if header.base == given or not header.base:
        return
    wanted = f"an update of the model with sha256 {header.base[:12]}…"
    if base:
        raise NetsukeError(f"{label}: is {wanted}, and {given[:12]}… was given; give that one")
    raise NetsukeError(f"{label}: is {wanted}; give that model with --since")


def _check_room(header: Header, target: Path) -> None:
    free = shutil.disk_usage(target.parent).free
    if header.length > free:
        raise NetsukeError(
            f"{target}: needs {header.length:,} bytes and the disk has {free:,}; make room"
        )
