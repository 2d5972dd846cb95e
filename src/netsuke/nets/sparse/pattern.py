"""Where zeros may lie: anywhere, or so many of each run of weights."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from netsuke.core.errors import NetsukeError
from netsuke.nets.sparse.layers import Layer


@dataclass(frozen=True)
class Pattern:
    """``2:4``: of each 4 weights in a row at most 2 are not zero (Mishra et al., 2021). The row runs
    along a layer's inputs, kernel position by kernel position. ``free``: zeros anywhere; both 0."""

    stay: int = 0
    of: int = 0

    @property
    def free(self) -> bool:
        return self.of == 0

    @property
    def sparsity(self) -> float:
        """The share that leaves; 0 where the pattern does not say."""
        return 0.0 if self.free else 1 - self.stay / self.of

    def at(self, share: float) -> "Pattern":
        """The pattern when this share of what is to leave has left."""
        return self if self.free else Pattern(self.of - int((self.of - self.stay) * share), self.of)

    def fits(self, layer: Layer) -> bool:
        """Whether the layer's inputs are whole runs."""
        return self.free or layer.shape[layer.inputs] % self.of == 0

    def best(self, scores: Tensor, layer: Layer) -> Tensor:
        """The mask with the highest scores of each run."""
        rows = scores.movedim(layer.inputs, -1)
        runs = rows.reshape(-1, self.of)
        mask = torch.zeros_like(runs, dtype=torch.bool)
        mask.scatter_(1, runs.topk(self.stay, 1).indices, True)
        return mask.reshape(rows.shape).movedim(-1, layer.inputs)

    def __str__(self) -> str:
        return "free" if self.free else f"{self.stay}:{self.of}"


def parse(text: str) -> Pattern:
    """``free``, or ``n:m`` with 0 < n < m. Raises NetsukeError for any other text."""
    if text == "free":
        return Pattern()
    match = re.fullmatch(r"(\d{1,4}):(\d{1,4})", text)
    if match is None or not 0 < int(match[1]) < int(match[2]):
        raise NetsukeError(f'pattern: {text!r} is neither "free" nor n:m with n below m, as in 2:4')
    return Pattern(int(match[1]), int(match[2]))
