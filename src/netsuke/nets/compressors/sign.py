"""One bit a value."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from netsuke.nets.compressors.compressor import Compressor
from netsuke.nets.compressors.levels import (
    bucketed,
    joined,
    split,
    with_scales,
    without_scales,
)
from netsuke.nets.compressors.memory import Feedback, Memory

BUCKET = 512
"""Values that share a size."""


@dataclass(frozen=True, kw_only=True)
class Sign(Compressor):
    """Of each value its sign, of 512 the mean of their sizes; what that leaves out goes later (Karimireddy et al., 2019, "Error
    feedback fixes SignSGD and other gradient compression schemes")."""

    name: ClassVar[str] = "sign"
    unbiased: ClassVar[bool] = False

    def pack(self, values: Tensor, draw: Generator) -> Tensor:
        rows = bucketed(values.float().abs(), BUCKET)
        filled = rows.new_full((len(rows), 1), float(BUCKET))
        filled[-1] -= rows.numel() - len(values)
        return with_scales(
            rows.sum(1, keepdim=True) / filled, joined((values >= 0).to(torch.uint8), 2)
        )

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        scales, numbers = without_scales(packed, count, BUCKET)
        signs = bucketed(split(numbers, 2, count), BUCKET).float()
        return ((2 * signs - 1) * scales).flatten()[:count]

    def memory(self) -> Memory:
        return Feedback()
