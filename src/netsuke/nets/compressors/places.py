"""Places in few bits: the lower bits of each as they are, the upper ones of all together as a row of ones and zeros (Elias, 1974,
"Efficient storage and retrieval by content and address of static files"; Fano, 1971), two bits a place besides. Within half a
bit of what Golomb's code takes, and as many bytes whichever places they are."""

import torch
from torch import Tensor

from netsuke.nets.compressors.levels import joined, split


def packed_places(places: Tensor, count: int) -> Tensor:
    """places: int64, rising, each once, below ``count``. Returns uint8, as many as ``places_bytes`` says."""
    low, upper = _bits(len(places), count)
    row = torch.zeros(upper, dtype=torch.uint8, device=places.device)
    row[(places >> low) + torch.arange(len(places), device=places.device)] = 1
    each = places[:, None] >> torch.arange(low, device=places.device) & 1
    return torch.cat([joined(row, 2), joined(each.to(torch.uint8), 2)])


def unpacked_places(packed: Tensor, many: int, count: int) -> Tensor:
    """int64, (many). Raises RuntimeError where as many are not in it; none is checked to be below ``count``."""
    low, upper = _bits(many, count)
    first = -(-upper // 8)
    ones = split(packed[:first], 2, upper).nonzero().flatten()
    high = ones - torch.arange(many, device=packed.device)
    each = split(packed[first:], 2, many * low).long().view(many, low)
    return (high << low) + (each << torch.arange(low, device=packed.device)).sum(1)


def places_bytes(many: int, count: int) -> int:
    """That so many places of so many take."""
    low, upper = _bits(many, count)
    return -(-upper // 8) + -(-many * low // 8)


def _bits(many: int, count: int) -> tuple[int, int]:
    """(Lower bits of each, bits of all the upper ones.)"""
    low = max(0, (count // many).bit_length() - 1)
    return low, many + (count >> low) + 1
