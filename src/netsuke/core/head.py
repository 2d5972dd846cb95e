"""An output layer of its own behind a cut, fitted to what the whole network says."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netsuke.core.data import Array
from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside

RIDGE = 1e-3
"""Against the mean power of the features."""


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
        from zipfile import BadZipFile  # here, for it takes a megabyte of those who have no head

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


def least_squares(features: Array, wanted: Array) -> tuple[Array, Array]:
    """(outputs × channels, outputs), float32: the weight and bias that make the wanted outputs of the features best."""
    x, y = features.astype(np.float64), wanted.astype(np.float64)
    mean, aim = x.mean(0), y.mean(0)
    x, y = x - mean, y - aim
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += RIDGE * max(float(gram.diagonal().mean()), 1e-12)
    weight = np.linalg.solve(gram, x.T @ y).T
    return weight.astype(np.float32), (aim - weight @ mean).astype(np.float32)
