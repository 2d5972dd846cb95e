"""The largest values alone."""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import torch
from torch import Generator, Tensor

from netsuke.core.passes import Range
from netsuke.nets.compressors.compressor import Compressor
from netsuke.nets.compressors.full import Full
from netsuke.nets.compressors.memory import Corrected, Feedback, Memory
from netsuke.nets.compressors.places import packed_places, places_bytes, unpacked_places

OPENING = 0.25
"""Share of the values that are sent at the first step of a warm-up."""


@dataclass(frozen=True, kw_only=True)
class TopK(Compressor):
    """The largest values with their places; the others gather until they are large (Lin et al., 2018, "Deep gradient
    compression").

    share: of the values that are sent. by: what those are packed by, in the order of their places; with ``Sign`` it is the sparse
    ternary compression of Sattler et al., 2020, "Robust and communication-efficient federated learning from non-i.i.d. data",
    a byte a value at a share of a thirtieth. momentum: of SGD, which is kept here, so that the optimizer must have none; 0 for
    plain error feedback, as for updates that an optimizer made. warmup: steps in which the share goes down from a quarter,
    evenly in its logarithm.
    """

    name: ClassVar[str] = "topk"
    unbiased: ClassVar[bool] = False
    share: Annotated[float, Range(1e-6, 1)] = 0.001
    by: Compressor = field(default_factory=Full)
    momentum: Annotated[float, Range(0, 0.9999)] = 0.9
    warmup: Annotated[int, Range(0, 1_000_000_000)] = 0

    def pack(self, values: Tensor, draw: Generator) -> Tensor:
        flat = values.float()
        # What is no number is among the largest.
        ranked = torch.nan_to_num(flat.abs(), nan=torch.inf)
        places = ranked.topk(self._many(len(flat)), sorted=False).indices.sort().values
        return torch.cat([packed_places(places, len(flat)), self.by.pack(flat[places], draw)])

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        many = self._many(count)
        places, values = packed.tensor_split([places_bytes(many, count)])
        found = torch.zeros(count, device=packed.device)
        return found.index_copy_(
            0, unpacked_places(places, many, count), self.by.unpack(values, many)
        )

    def _many(self, count: int) -> int:
        """Of so many values, how many are sent."""
        return max(1, math.ceil(self.share * count))

    def memory(self) -> Memory:
        return Corrected(self.momentum) if self.momentum else Feedback()

    def at(self, step: int) -> "TopK":
        if step >= self.warmup or self.share >= OPENING:
            return self
        return replace(self, share=OPENING * (self.share / OPENING) ** (step / self.warmup))
