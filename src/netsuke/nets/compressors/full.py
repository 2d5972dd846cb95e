"""Nothing left out."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from netsuke.nets.compressors.compressor import Compressor


@dataclass(frozen=True, kw_only=True)
class Full(Compressor):
    """Every value in 32 bits: what the others are compared with."""

    name: ClassVar[str] = "full"
    unbiased: ClassVar[bool] = True

    def pack(self, values: Tensor, draw: Generator) -> Tensor:
        return values.float().contiguous().view(torch.uint8)

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        return packed.clone().view(torch.float32)
