"""Where an artifact can be cut, and what it falls into."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from netsuke.core.artifact import Artifact
from netsuke.core.data import Array
from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside


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


@dataclass(frozen=True, eq=False)
class Head:
    """An output layer of its own behind a cut: the mean of each channel of what crosses, and a linear layer
    (Teerapittayanon et al., 2017, "Distributed deep neural networks over the cloud, the edge and end devices").

    tensor: the name of what it reads, in the numbers that cross. channels: its dimension of channels. weight (outputs ×
    channels), bias: float32. threshold: the least probability of its likeliest class with which it is believed.
    """

    tensor: str
    channels: int
    weight: Array
    bias: Array
    threshold: float

    def answer(self, crossing: Array) -> tuple[Array, Array]:
        """(outputs, of each sample whether it is sure)."""
        outputs = means(crossing, self.channels) @ self.weight.T + self.bias
        return outputs, sureness(outputs) >= self.threshold

    def save(self, path: Path) -> None:
        """As ``.npz``."""
        with beside(path) as draft, draft.open("wb") as file:
            np.savez(
                file, tensor=np.array(self.tensor), channels=np.array(self.channels), weight=self.weight,
                bias=self.bias, threshold=np.array(self.threshold),
            )  # fmt: skip

    @staticmethod
    def load(path: Path) -> "Head":
        """Raises NetsukeError where the file holds no head."""
        try:
            with np.load(path, allow_pickle=False) as kept:
                return Head(
                    str(kept["tensor"]), int(kept["channels"]), kept["weight"], kept["bias"], float(kept["threshold"])
                )  # fmt: skip
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise NetsukeError(f"{path.name}: holds no head: {error}") from error


def means(crossing: Array, channels: int) -> Array:
    """Of each channel, over all other dimensions: (samples, channels), float32."""
    rest = tuple(d for d in range(1, crossing.ndim) if d != channels)
    found: Array = crossing.astype(np.float32).mean(axis=rest)
    return found


def sureness(outputs: Array) -> Array:
    """The probability of each sample's likeliest class."""
    shifted = np.exp(outputs - outputs.max(1, keepdims=True))
    found: Array = shifted.max(1) / shifted.sum(1)
    return found
