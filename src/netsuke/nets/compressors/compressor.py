"""What is sent of a vector, and what is made of it at the other end."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from netsuke.core.passes import check_fields
from netsuke.nets.compressors.memory import Forgetful, Memory


@dataclass(frozen=True, kw_only=True)
class Compressor(ABC):
    """Bytes for a vector, and a vector for bytes. Nothing is kept here: see ``memory``.

    Raises NetsukeError where a setting is outside its range. unbiased: whether what arrives is in the mean what was sent. The number of bytes depends on the number of values alone, so
    that all machines send as many.
    """

    name: ClassVar[str]
    unbiased: ClassVar[bool]

    def __post_init__(self) -> None:
        check_fields(self, self.name)

    @abstractmethod
    def pack(self, values: Tensor, draw: Generator) -> Tensor:
        """values: float, (count). Returns uint8. What is not finite stays not finite."""

    @abstractmethod
    def unpack(self, packed: Tensor, count: int) -> Tensor:
        """float32, (count)."""

    def memory(self) -> Memory:
        """A new one, for what must not be lost between steps."""
        return Forgetful()

    def at(self, step: int) -> "Compressor":
        """What is in force at a step of the training, 0 being the first."""
        return self
