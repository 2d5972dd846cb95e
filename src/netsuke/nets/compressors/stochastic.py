"""Few bits a value, rounded by chance."""

from dataclasses import dataclass
from typing import ClassVar, Literal

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

Bits = Literal[2, 4, 8]


@dataclass(frozen=True, kw_only=True)
class Stochastic(Compressor):
    """Of 512 values the largest in full, of each its share of that, rounded up or down by chance (Alistarh et al., 2017, "QSGD",
    with the largest value for the norm, as in its experiments).

    bits: a value takes, its sign among them; zero stays zero.
    """

    name: ClassVar[str] = "stochastic"
    unbiased: ClassVar[bool] = True
    bits: Bits = 4

    @property
    def _most(self) -> int:
        return int(2 ** (self.bits - 1)) - 1

    def pack(self, values: Tensor, draw: Generator) -> Tensor:
        rows, scales = scaled(values)
        whole = drawn(rows, self._most, draw).flatten()[: len(values)]
        return with_scales(scales, joined(whole, 2**self.bits))

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        scales, numbers = without_scales(packed, count)
        whole = bucketed(split(numbers, 2**self.bits, count)).float()
        return ((whole - self._most) * (scales / self._most)).flatten()[:count]
