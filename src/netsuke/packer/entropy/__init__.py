"""Symbols at their entropy: a range coder (rANS) in numpy, and integer models of what weights are.

Everything that decides a probability is whole numbers, so that every machine decodes the same. There
is no coder to install: `constriction` has no wheel for 64-bit ARM on Linux, where models are unpacked.
"""

from netsuke.packer.entropy.stream import decode, encode

__all__ = ["decode", "encode"]
