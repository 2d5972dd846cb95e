"""What a codec promises."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

from netsuke.packer.block import Form


class Coded(NamedTuple):
    """A block's bytes as written, and the whole numbers needed to read them."""

    payload: bytes
    settings: Mapping[str, int]


class Codec(ABC):
    """One exact way to write a block. rank: codecs are tried in this order, those that mostly win
    first. fields: the names of its settings, in the order in which the header has their values."""

    name: ClassVar[str]
    rank: ClassVar[int]
    fields: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def encode(self, raw: bytes | memoryview, form: Form, limit: int) -> Coded | None:
        """The block written; None where it is not of the codec's kind or would take ``limit`` bytes."""

    @abstractmethod
    def decode(
        self, payload: memoryview, form: Form, settings: Mapping[str, int]
    ) -> Iterator[bytes]:
        """The block's bytes, ``form.size`` of them, in pieces that fit in memory.

        Raises ValueError, KeyError, IndexError or zlib.error where payload and settings are not
        what ``encode`` writes; never makes more than ``form.size`` bytes of them.
        """
