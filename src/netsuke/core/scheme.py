"""What codes a tensor's values become: frozen specs, no torch. The mechanisms are in ``nets/``."""

from dataclasses import dataclass

from netsuke.core.errors import NetsukeError

BITS = (2, 3, 4, 5, 6, 7, 8, 16)


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How a tensor's values are coded, and how many of them share a scale.

    axis: one scale for each index of this dimension; -1 for one in all. group: with an axis of 0 and
    a matrix, one scale for each run of so many values along a row; 0 for none.
    """

    bits: int = 8
    axis: int = -1
    group: int = 0

    def __post_init__(self) -> None:
        if self.group and self.axis != 0:
            raise NetsukeError(f"scheme: groups of {self.group} run along rows, so axis must be 0")


@dataclass(frozen=True, kw_only=True)
class Uniform(Scheme):
    """Integers a constant step apart (Jacob et al., 2018): ``value = (code − zero point) · scale``.

    bits: 2 to 8, or 16. symmetric: the zero point is 0, and a signed range leaves out its most
    negative integer, so that a value and its negative cost the same. signed: None signs what is
    symmetric. power_of_two: the scale is a power of two, which makes it the fixed-point format Qm.n.
    """

    symmetric: bool = False
    signed: bool | None = None
    power_of_two: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits not in BITS:
            raise NetsukeError(f"scheme: {self.bits} bits; there are 2 to 8, and 16")

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest code."""
        signed = self.symmetric if self.signed is None else self.signed
        if not signed:
            return 0, 2**self.bits - 1
        top = 2 ** (self.bits - 1) - 1
        return (-top if self.symmetric else -top - 1), top
