"""The largest values alone."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch import Generator, Tensor

from netsuke.core.passes import Range
from netsuke.nets.compressors.compressor import Compressor
from netsuke.nets.compressors.memory import Corrected, Feedback, Memory

OPENING = 0.25
"""Share of the values that are sent at the first step of a warm-up."""


@dataclass(frozen=True, kw_only=True)
class TopK(Compressor):
    """The largest values with their places, in full; the others gather until they are large (Lin et al., 2018, "Deep gradient
    compression").

    share: of the values that are sent. momentum: of SGD, which is kept here, so that the optimizer must have none; 0 for plain
    error feedback, as for updates that an optimizer made. warmup: steps in which the share goes down from a quarter, evenly in
    its logarithm.
    """

    name: ClassVar[str] = "topk"
    unbiased: ClassVar[bool] = False
    share: Annotated[float, Range(1e-6, 1)] = 0.001
    momentum: Annotated[float, Range(0, 0.9999)] = 0.9
    warmup: Annotated[int, Range(0, 1_000_000_000)] = 0

    def pack(self, values: Tensor, draw: Generator) -> Tensor:
        flat = values.float()
        places = self.places(flat)
        return torch.cat([places.to(torch.int32).view(torch.uint8), flat[places].view(torch.uint8)])

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        places, values = packed.view(2, -1).clone()
        found = torch.zeros(count, device=packed.device)
        return found.index_copy_(0, places.view(torch.int32).long(), values.view(torch.float32))

    def many(self, count: int) -> int:
        """Of so many values, how many are sent."""
        return max(1, math.ceil(self.share * count))

    def places(self, flat: Tensor) -> Tensor:
        """Of the largest; what is no number is among them."""
        ranked = torch.nan_to_num(flat.abs(), nan=torch.inf)
        return ranked.topk(self.many(len(flat)), sorted=False).indices

    def memory(self) -> Memory:
        return Corrected(self.momentum) if self.momentum else Feedback()

    def at(self, step: int) -> "TopK":
        if step >= self.warmup or self.share >= OPENING:
            return self
        return replace(self, share=OPENING * (self.share / OPENING) ** (step / self.warmup))
