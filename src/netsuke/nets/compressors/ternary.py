"""Three values."""

from dataclasses import dataclass
from typing import ClassVar

from netsuke.nets.compressors.levelled import Levelled


@dataclass(frozen=True, kw_only=True)
class Ternary(Levelled):
    """Nothing, or the largest, with a sign (Wen et al., 2017, "TernGrad", without its clipping, which would be a bias). Five values
    a byte."""

    name: ClassVar[str] = "ternary"

    @property
    def most(self) -> int:
        return 1

    @property
    def base(self) -> int:
        return 3
