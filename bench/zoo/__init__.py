"""Architectures from configurations, with random weights: what pruning must get right, one by one."""

from bench.zoo import attention, images, joined, mobile, residual, sequences
from bench.zoo._parts import Entry

ENTRIES: tuple[Entry, ...] = (
    *residual.ENTRIES, *joined.ENTRIES, *mobile.ENTRIES, *images.ENTRIES, *sequences.ENTRIES,
    *attention.ENTRIES,
)  # fmt: skip
"""Every architecture of the zoo."""
