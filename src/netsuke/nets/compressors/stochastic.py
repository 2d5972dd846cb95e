"""Few bits a value, rounded by chance."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from netsuke.nets.compressors.levelled import Levelled

Bits = Literal[2, 4, 8]


@dataclass(frozen=True, kw_only=True)
class Stochastic(Levelled):
    """As many levels as the bits have room for (Alistarh et al., 2017, "QSGD", with the largest value for the norm, as in its
    experiments).

    bits: a value takes, its sign among them.
    """

    name: ClassVar[str] = "stochastic"
    bits: Bits = 4

    @property
    def most(self) -> int:
        return int(2 ** (self.bits - 1)) - 1

    @property
    def base(self) -> int:
        return int(2**self.bits)
