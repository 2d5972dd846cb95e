"""How one block's values are written: each codec is a module here, and registers by standing here."""

from netsuke.core.registry import registered
from netsuke.packer.block import Form
from netsuke.packer.codecs.base import Codec, Coded

__all__ = ["Codec", "Coded", "codecs", "smallest"]

ENOUGH = 12
"""Bytes that no further codec is tried for."""


def codecs() -> dict[str, Codec]:
    """Every codec by name, those that mostly win first."""
    kinds = registered(Codec, "netsuke.packer.codecs")
    return {name: kind() for name, kind in sorted(kinds.items(), key=lambda item: item[1].rank)}


def smallest(raw: bytes | memoryview, form: Form) -> tuple[str, Coded]:
    """The codec that writes the block in the fewest bytes, and what it wrote."""
    best, limit = None, len(raw) + 1
    for name, codec in codecs().items():
        if best is not None and limit <= ENOUGH:
            break
        made = codec.encode(raw, form, limit)
        if made is not None and len(made.payload) < limit:
            best, limit = (name, made), len(made.payload)
    assert best is not None, "raw always fits"
    return best
