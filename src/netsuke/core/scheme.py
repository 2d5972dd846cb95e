"""What codes a tensor's values become: frozen specs, no torch. The mechanisms are in ``nets/``.

Each scheme has a short name, for recipes and reports: ``str(scheme)`` and ``parse``.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from netsuke.core.errors import NetsukeError

BITS = (2, 3, 4, 5, 6, 7, 8, 16)
Table = Literal["kmeans", "log", "nf4", "e4m3", "e5m2"]
WIDTHS: dict[str, tuple[int, ...]] = {
    "kmeans": tuple(range(2, 9)), "log": tuple(range(2, 9)), "nf4": (4,), "e4m3": (8,), "e5m2": (8,),
}  # fmt: skip
"""The bits a table may have. FP8 has 256 codes, and NF4 has 16."""
HALVES = ("fp16", "bf16")


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
        if self.group < 0:
            raise NetsukeError(f"scheme: groups of {self.group}; a group has 1 value or more")
        if self.group and self.axis != 0:
            raise NetsukeError(f"scheme: groups of {self.group} run along rows, so axis must be 0")

    def _shared(self, axis: int) -> str:
        """How the name ends: with nothing where scales are shared as is usual for the scheme."""
        if self.group:
            return f"g{self.group}"
        return "" if self.axis == axis else {-1: "t", 0: "c"}.get(self.axis, f"@{self.axis}")


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
        if not self._signed:
            return 0, 2**self.bits - 1
        top = 2 ** (self.bits - 1) - 1
        return (-top if self.symmetric else -top - 1), top

    @property
    def _signed(self) -> bool:
        return self.symmetric if self.signed is None else self.signed

    def __str__(self) -> str:
        """``int4``, ``uint8``, ``int4g64``; ``q8`` for fixed point."""
        kind = ("q" if self._signed else "uq") if self.power_of_two else None
        kind = kind or ("int" if self._signed else "uint")
        unusual = self.symmetric is not self._signed
        return f"{kind}{self.bits}{'as'[self.symmetric] if unusual else ''}{self._shared(0)}"


@dataclass(frozen=True, kw_only=True)
class Lookup(Scheme):
    """Codes that number the entries of a small table: ``value = table[code] · scale``.

    kmeans: a codebook fitted to the tensor (weight clustering; Han et al., 2015). log: zero and
    powers of two (Miyashita et al., 2016). nf4: quantiles of the normal distribution (Dettmers et
    al., 2023). e4m3, e5m2: the 8-bit floats (Micikevicius et al., 2022), without infinities.
    """

    table: Table = "kmeans"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits not in WIDTHS.get(self.table, ()):
            known = WIDTHS.get(self.table) or get_args(Table)
            raise NetsukeError(f"scheme: {self.table} of {self.bits} bits; there are {known}")

    def __str__(self) -> str:
        """``kmeans4``, ``log4``, ``nf4g64``, ``e4m3``."""
        bits = self.bits if self.table in ("kmeans", "log") else ""
        return f"{self.table}{bits}{self._shared(_usual_axis(self.table))}"


@dataclass(frozen=True, kw_only=True)
class Cast(Scheme):
    """A float of 16 bits, without a scale. kind: ``fp16`` (IEEE 754) or ``bf16``."""

    bits: int = 16
    kind: Literal["fp16", "bf16"] = "fp16"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in HALVES or self.bits != 16 or self.axis != -1:
            raise NetsukeError(
                f"scheme: {self.kind} of {self.bits} bits; there are fp16 and bf16, unscaled"
            )

    def __str__(self) -> str:
        return self.kind


NAMES = "int2 … int8, int16, uint4, q8, fp16, bf16, e4m3, e5m2, kmeans4, log4, nf4, int4g64"
_NUMBERED = re.compile(r"(u?int|u?q|kmeans|log)(\d{1,2})([as]?)(t|c|g\d{1,9})?")
_FIXED = re.compile(r"(nf4|e4m3|e5m2)(t|c|g\d{1,9})?")


def parse(name: str) -> Scheme:
    """The scheme of that name; the inverse of ``str`` for tensors scaled on their first dimension.

    ``int4``: symmetric, a scale a channel. ``uint4``: with a zero point. ``q8``, ``uq8``: fixed
    point. ``s`` or ``a`` behind the width: symmetric or with a zero point all the same. Then ``t``: one scale a
    tensor; ``c``: one a channel; ``g64``: one for 64 values. Raises NetsukeError for any other name.
    """
    if name in HALVES:
        return Cast(kind="fp16" if name == "fp16" else "bf16")
    if match := _FIXED.fullmatch(name):
        table, shared = match.groups()
        return _lookup(table, WIDTHS[table][0], shared)
    match = _NUMBERED.fullmatch(name)
    if match is None or (match[3] and match[1] in WIDTHS):
        raise NetsukeError(f"scheme: {name!r} is unknown; there are {NAMES}")
    kind, bits, unusual, shared = match[1], int(match[2]), match[3], match[4]
    if kind in WIDTHS:
        return _lookup(kind, bits, shared)
    signed = not kind.startswith("u")
    symmetric = unusual == "s" if unusual else signed
    axis, group = _axis(shared, 0)
    return Uniform(
        bits=bits, axis=axis, group=group, symmetric=symmetric,
        signed=None if signed is symmetric else signed, power_of_two=kind.endswith("q"),
    )  # fmt: skip


def _lookup(table: str, bits: int, shared: str | None) -> Lookup:
    axis, group = _axis(shared, _usual_axis(table))
    return Lookup(table=table, bits=bits, axis=axis, group=group)  # type: ignore[arg-type]


def _usual_axis(table: str) -> int:
    """A codebook is fitted to the whole tensor; other tables are stretched channel by channel."""
    return -1 if table == "kmeans" else 0


def _axis(shared: str | None, usual: int) -> tuple[int, int]:
    """(axis, group) from how a name ends."""
    if shared is None:
        return usual, 0
    if shared.startswith("g"):
        if shared == "g0":
            raise NetsukeError("scheme: groups of 0; a group has 1 value or more")
        return 0, int(shared[1:])
    return (-1 if shared == "t" else 0), 0
