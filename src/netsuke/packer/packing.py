"""An ONNX file written as a stored model."""

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside
from netsuke.packer.base import Base, between, content_of, model_of, opened, subtracted
from netsuke.packer.block import Form
from netsuke.packer.codecs import smallest
from netsuke.packer.codecs.deflate import deflate
from netsuke.packer.header import DIFFERENCE, LONGEST, OWN, SAME, Header, Section, write_header
from netsuke.packer.layout import Block, planned
from netsuke.packer.wire import Tensor, tensors


@dataclass(frozen=True)
class Packed:
    """A stored model in memory. header: of the file. names: what each of its sections holds. payloads:
    the sections as written."""

    header: Header
    names: tuple[str, ...]
    payloads: tuple[bytes, ...]

    @property
    def codecs(self) -> dict[str, str]:
        """The codec of each section by what it holds; nothing where it is the base's."""
        sections = zip(self.names, self.header.sections, strict=True)
        return {name: section.codec for name, section in sections}

    @property
    def content(self) -> Iterator[bytes]:
        """The file, in pieces."""
        yield write_header(self.header)
        yield from self.payloads

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(len(piece) for piece in self.content)


def packed(source: Path, since: Path | None = None) -> Packed:
    """An ONNX file packed, as an update of the model ``since`` where one is given: an .onnx or .nsk
    file, or a run. Raises NetsukeError where a file is missing, no whole ONNX file, or has its weights
    in another file."""
    source = model_of(source)
    with content_of(source) as content, opened(since, source.parent) as base:
        try:
            found = tensors(content)
        except ValueError as error:
            raise NetsukeError(
                f"{source}: cannot be packed: {error}; give one whole .onnx file"
            ) from error
        return _packed(content, found, base)


def pack(source: Path, target: Path, since: Path | None = None) -> Packed:
    """Write the stored form of the ONNX file ``source`` at ``target``, whole or not at all; with
    ``since``, what has changed since that model.

    Raises NetsukeError where a file is missing, no whole ONNX file, or has its weights in another file.
    """
    made = packed(source, since)
    with beside(target) as draft, draft.open("wb") as file:
        file.writelines(made.content)
    return made


def _packed(content: memoryview, found: tuple[Tensor, ...], base: Base | None) -> Packed:
    rest = between(content, found)
    if len(rest) > LONGEST:
        raise NetsukeError(
            f"{len(rest):,} bytes of the model are no tensor, and {LONGEST:,} is the most; "
            "give its weights as initializers"
        )
    plan = planned(found).blocks
    made = [_rest(rest, base), *(_coded(content, block, base) for block in plan)]
    header = Header(
        length=len(content), sha256=hashlib.sha256(content).hexdigest(),
        base=base.sha256 if base else "", rest=len(rest),
        sections=tuple(section for section, _ in made),
    )  # fmt: skip
    names = ("the graph", *(block.name for block in plan))
    return Packed(header, names, tuple(payload for _, payload in made))


def _rest(rest: bytes, base: Base | None) -> tuple[Section, bytes]:
    """What is between the tensors: with a base, its own rest is the dictionary."""
    if base and base.rest == rest:
        return Section(against=SAME), b""
    own = _own(rest, Form(8, (len(rest),), len(rest)))
    if base:
        payload = deflate(rest, dictionary=base.rest)
        if len(payload) < len(own[1]):
            return _section("deflate", {}, payload, DIFFERENCE), payload
    return own


def _coded(content: memoryview, block: Block, base: Base | None) -> tuple[Section, bytes]:
    """A block in the fewest bytes."""
    raw = b"".join(bytes(content[span.start : span.start + span.size]) for span in block.spans)
    old = base.block(block) if base else None
    if old == raw:
        return Section(against=SAME), b""
    own = _own(raw, block.form)
    if old is None:
        return own
    codec, (payload, settings) = smallest(subtracted(raw, old, block.form), block.form)
    if len(payload) >= len(own[1]):
        return own
    return _section(codec, settings, payload, DIFFERENCE), payload


def _own(raw: bytes, form: Form) -> tuple[Section, bytes]:
    codec, (payload, settings) = smallest(raw, form)
    return _section(codec, settings, payload, OWN), payload


def _section(codec: str, settings: Mapping[str, int], payload: bytes, against: int) -> Section:
    return Section(
        codec=codec, settings=settings, length=len(payload), crc32=zlib.crc32(payload),
        against=against,
    )  # fmt: skip
