"""Vectors in buckets, each scaled by its largest value to whole numbers; and small whole numbers packed into bytes."""

from functools import cache

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

SCALE = torch.bfloat16
"""What a scale is told as: of the range of float32, in half the bytes."""


def bucketed(values: Tensor, bucket: int) -> Tensor:
    """(count) → (buckets, bucket), the last one filled with zeros."""
    return pad(values, (0, -len(values) % bucket)).view(-1, bucket)


def scaled(values: Tensor, bucket: int) -> tuple[Tensor, Tensor]:
    """((buckets, bucket) from −1 to 1; (buckets, 1) what they were divided by: the largest, or the next scale above it)."""
    rows = bucketed(values.float(), bucket)
    largest = rows.abs().amax(1, keepdim=True)
    near = largest.to(SCALE)
    above = torch.nextafter(near, torch.full_like(near, torch.inf))
    scales = torch.where(near.float() < largest, above, near).float()
    return torch.where(scales > 0, rows / scales, 0.0), scales


def drawn(rows: Tensor, most: int, draw: Generator) -> Tensor:
    """Whole numbers from −most to most, uint8 from 0 on: up or down by chance, so that the mean is what it was."""
    chance = torch.rand(rows.shape, generator=draw, device=rows.device)
    whole = torch.floor(rows * most + chance).clamp_(-most, most)
    return torch.nan_to_num(whole + most, nan=0.0).to(torch.uint8)


def joined(numbers: Tensor, base: int) -> Tensor:
    """As many as go into a byte, in each byte: uint8 below ``base``, (…) → (bytes)."""
    weights = _weights(base)
    flat = numbers.flatten()
    rows = pad(flat, (0, -len(flat) % len(weights))).view(-1, len(weights))
    return (rows * weights).sum(1, dtype=torch.uint8)


def split(packed: Tensor, base: int, count: int) -> Tensor:
    """The numbers again: (bytes) → (count)."""
    rows = (packed[:, None] // _weights(base)).to(torch.int16) % base
    return rows.to(torch.uint8).flatten()[:count]


@cache
def _weights(base: int) -> Tensor:
    found = [1]
    while found[-1] * base * base <= 256:
        found.append(found[-1] * base)
    return torch.tensor(found, dtype=torch.uint8)


def with_scales(scales: Tensor, packed: Tensor) -> Tensor:
    """One message of both."""
    return torch.cat([scales.flatten().to(SCALE).view(torch.uint8), packed])


def without_scales(message: Tensor, count: int, bucket: int) -> tuple[Tensor, Tensor]:
    """((buckets, 1) scales, the rest)."""
    size = SCALE.itemsize * -(-count // bucket)
    return message[:size].clone().view(SCALE).float()[:, None], message[size:]
