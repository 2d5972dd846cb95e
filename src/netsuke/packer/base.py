"""An earlier model that an update is packed and unpacked against."""

import hashlib
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from netsuke.core.errors import NetsukeError
from netsuke.packer.block import Array, Form, elements, raw_bytes
from netsuke.packer.layout import Block
from netsuke.packer.wire import Tensor, tensors


class Base:
    """The model that was there before. sha256: of its ONNX file. rest: what is between its tensors."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._tensors: dict[tuple[str, str, tuple[int, ...]], Tensor] = {}
        found = tensors(content)
        for tensor in found:
            self._tensors.setdefault(_key(tensor), tensor)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.rest = between(content, found)

    def block(self, block: Block) -> bytes | None:
        """The bytes that a block had, None unless it had all of its tensors."""
        parts = []
        for span in block.spans:
            old = self._tensors.get(_key(span.tensor))
            if old is None or old.size != span.tensor.size:
                return None
            start = old.start + span.offset
            parts.append(bytes(self._content[start : start + span.size]))
        return b"".join(parts)


@contextmanager
def opened(path: Path | None, drafts: Path) -> Iterator[Base | None]:
    """The model at ``path``: an .onnx file, an .nsk file (expanded in ``drafts`` meanwhile), or the
    folder of a run. Raises NetsukeError where there is none."""
    if path is None:
        yield None
        return
    path = model_of(path)
    with tempfile.TemporaryDirectory(dir=drafts, prefix=".base-") as folder:
        if path.suffix == ".nsk":
            from netsuke.packer.unpacking import unpack

            unpack(path, Path(folder) / "base.onnx")
            path = Path(folder) / "base.onnx"
        with content_of(path) as content:
            try:
                yield Base(content)
            except ValueError as error:
                raise NetsukeError(f"{path}: is no whole .onnx file: {error}") from error


def model_of(path: Path) -> Path:
    """The file itself, or the model of a run's folder: ``model.onnx``, else ``model.nsk``."""
    if not path.is_dir():
        return path
    found = [path / name for name in ("model.onnx", "model.nsk") if (path / name).is_file()]
    if not found:
        raise NetsukeError(f"{path}: has no model.onnx and no model.nsk; give a run or a file")
    return found[0]


@contextmanager
def content_of(path: Path) -> Iterator[memoryview]:
    """The bytes of a file. Raises NetsukeError where it is missing or empty."""
    try:
        if not path.stat().st_size:
            raise NetsukeError(f"{path}: cannot be packed: it is empty; give one whole .onnx file")
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held,
            memoryview(held) as content,
        ):
            yield content
    except FileNotFoundError as error:
        raise NetsukeError(f"{path}: no such file; give an .onnx file") from error


def between(content: memoryview, found: tuple[Tensor, ...]) -> bytes:
    """All that is no tensor's values."""
    starts = [0, *(tensor.start + tensor.size for tensor in found)]
    ends = [*(tensor.start for tensor in found), len(content)]
    return b"".join(bytes(content[a:b]) for a, b in zip(starts, ends, strict=True))


def subtracted(new: bytes, old: bytes, form: Form) -> bytes:
    """The difference of two blocks, element by element, as whole numbers that wrap around."""
    difference = elements(new, form) - elements(old, form)
    return raw_bytes(_within(difference, form), form)


def added(difference: bytes | memoryview, old: bytes | memoryview, form: Form) -> bytes:
    """The opposite of ``subtracted``, for all of a block or a run of whole bytes."""
    total = elements(difference, form) + elements(old, form)
    return raw_bytes(_within(total, form), form)


def _within(values: Array, form: Form) -> Array:
    return values & np.uint8(form.mask) if form.together > 1 else values


def _key(tensor: Tensor) -> tuple[str, str, tuple[int, ...]]:
    return tensor.name, tensor.dtype, tensor.shape
