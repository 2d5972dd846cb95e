"""The largest values alone, in a byte each."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from netsuke.nets.compressors.stochastic import Stochastic
from netsuke.nets.compressors.topk import TopK

BLOCK = 1 << 16
"""Values within which two bytes say a place."""
INT8 = Stochastic(bits=8)


@dataclass(frozen=True, kw_only=True)
class TopKInt8(TopK):
    """As ``TopK``, in three bytes a value instead of eight: its place in two, within the 65,536 values around it, and its share
    of the largest of 512 in one. What rounding loses is kept for later, like all that is not sent."""

    name: ClassVar[str] = "topk8"

    def pack(self, values: Tensor, draw: Generator) -> Tensor:
        flat = values.float()
        places = self.places(flat).sort().values
        each = torch.bincount(places // BLOCK, minlength=_blocks(len(flat))).to(torch.int32)
        within = places % BLOCK
        where = torch.cat([within % 256, within // 256]).to(torch.uint8)
        return torch.cat([each.view(torch.uint8), where, INT8.pack(flat[places], draw)])

    def unpack(self, packed: Tensor, count: int) -> Tensor:
        many, blocks = self.many(count), _blocks(count)
        each, where, rest = packed.split(
            [4 * blocks, 2 * many, len(packed) - 4 * blocks - 2 * many]
        )
        low, high = where.long().view(2, many)
        block = torch.arange(blocks, device=packed.device)
        start = torch.repeat_interleave(block, each.clone().view(torch.int32).long()) * BLOCK
        found = torch.zeros(count, device=packed.device)
        return found.index_copy_(0, start + low + 256 * high, INT8.unpack(rest, many))


def _blocks(count: int) -> int:
    return -(-count // BLOCK)
