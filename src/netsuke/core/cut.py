"""Where an artifact can be cut, and what it falls into."""

from dataclasses import dataclass
from math import prod

import numpy as np

from netsuke.core.artifact import Artifact


@dataclass(frozen=True)
class Tensor:
    """A value that crosses a cut. shape: without the batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of one sample."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Cut:
    """A place between two nodes. layer: the last before it that multiplies. tensors: what crosses it, in order."""

    layer: str
    tensors: tuple[Tensor, ...]

    @property
    def size(self) -> int:
        """Bytes that cross it for one sample."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self.tensors)


@dataclass(frozen=True)
class Part:
    """What lies between two cuts. artifact: of this part alone; its inputs are those of the tensors before it that it
    reads. gives: the names of its outputs. leaves: of all that crosses behind it, in order: what it gives, and what it
    passes on as it came."""

    artifact: Artifact
    gives: tuple[str, ...]
    leaves: tuple[str, ...]

    @property
    def passes(self) -> tuple[str, ...]:
        """Tensors that it leaves as they are, for later parts."""
        return tuple(name for name in self.leaves if name not in self.gives)
