"""Three values."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, Tensor

from netsuke.nets.compressors.compressor import Compressor
from netsuke.nets.compressors.levels import (  # fmt: skip
    bucketed,
    drawn,
    joined,
    scaled,
    split,
    with_scales,
    without_scales,
)


@dataclass(frozen=True, kw_only=True)
class Ternary(Compressor):
    """Nothing, or the largest of 512 values, with a sign, by chance (Wen et al., 2017, "TernGrad", without its clipping, which
    would be a bias). Five values a byte."""

    name: ClassVar[str] = "ternary"
    unbiased: ClassVar[bool] = True

    def pack(self, values: Tensor, draw: Generator) -> Tensor:
        rows, scales = scaled(values)
        whole = drawn(rows, 1, draw).flatten()[: len(values)]
        return with_scales(scales, joined(whole, 3))

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        scales, numbers = without_scales(packed, count)
        whole = bucketed(split(numbers, 3, count)).float()
        return ((whole - 1) * scales).flatten()[:count]
