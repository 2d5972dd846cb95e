"""Powers of two."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from netsuke.nets.compressors.compressor import Compressor
from netsuke.nets.compressors.levels import (
    bucketed,
    joined,
    scaled,
    split,
    with_scales,
    without_scales,
)

BUCKET = 512
"""Values that share a scale."""
SMALLEST = -6
"""Exponent of the smallest level above zero; the largest is 0."""
LEVELS = torch.cat([torch.zeros(1), 2.0 ** torch.arange(SMALLEST, 1)])


@dataclass(frozen=True, kw_only=True)
class Natural(Compressor):
    """Four bits a value: its sign, and of the largest of 512 the half, the fourth, … the 64th, or nothing, the level above or below by
    chance (Horváth et al., 2022, "Natural compression for distributed deep learning"). However small, a value is off by half of itself
    at most, while levels at even distances make nothing or twice as much of most."""

    name: ClassVar[str] = "natural"
    unbiased: ClassVar[bool] = True

    def pack(self, values: Tensor, draw: Generator) -> Tensor:
        rows, scales = scaled(values, BUCKET)
        size, levels = rows.abs(), LEVELS.to(rows.device)
        below = (torch.bucketize(size, levels, right=True) - 1).clamp_(0, len(levels) - 2)
        step = levels[below + 1] - levels[below]
        chance = torch.rand(rows.shape, generator=draw, device=rows.device)
        drawn = below + (chance < (size - levels[below]) / step)
        numbers = torch.where(rows < 0, drawn + len(levels), drawn).to(torch.uint8)
        return with_scales(scales, joined(numbers.flatten()[: len(values)], 2 * len(levels)))

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        scales, told = without_scales(packed, count, BUCKET)
        numbers = bucketed(split(told, 2 * len(LEVELS), count), BUCKET).long()
        levels = LEVELS.to(packed.device)
        return (torch.cat([levels, -levels])[numbers] * scales).flatten()[:count]
