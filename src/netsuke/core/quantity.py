"""Quantities with units: ``"100 KB"``, ``"5 ms"``, ``"1 pt"``, all held in SI base units."""

import re
from dataclasses import dataclass
from typing import Literal

from netsuke.core.errors import NetsukeError

Kind = Literal["bytes", "seconds", "joules", "points"]

UNITS: dict[Kind, dict[str, float]] = {
    "bytes": {
        "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
    },
    "seconds": {"s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9},
    "joules": {"J": 1, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6, "nJ": 1e-9},
    # A point is a hundredth of the metric's scale: 1 pt of accuracy is 0.01.
    "points": {"pt": 0.01, "pts": 0.01},
}  # fmt: skip

_FORM = re.compile(r"\s*([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ]*)\s*")


def parse(text: str | float, kind: Kind, field: str) -> float:
    """Read a quantity such as ``"100 KB"`` into SI base units (bytes, seconds, joules, fraction).

    A bare number is taken in base units. Units are matched without regard to case where that is
    unambiguous. Raises NetsukeError that names ``field`` and the units that would do.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        return _positive(float(text), str(text), field)
    units = UNITS[kind]
    match = _FORM.fullmatch(str(text))
    if match is None:
        raise NetsukeError(f"{field}: {text!r} is not a quantity; write e.g. {_example(kind)!r}")
    number, unit = float(match[1]), match[2]
    if not unit:
        raise NetsukeError(f"{field}: {text!r} has no unit; one of {', '.join(units)}")
    folded = {name.lower(): factor for name, factor in units.items()}
    factor = units.get(unit, folded.get(unit.lower()))
    if factor is None:
        raise NetsukeError(f"{field}: {unit!r} is not a unit of {kind}; one of {', '.join(units)}")
    return _positive(number * factor, str(text), field)


def _positive(value: float, text: str, field: str) -> float:
    if not 0 <= value < float("inf"):
        raise NetsukeError(f"{field}: {text} must be zero or more, and finite")
    return value


def _example(kind: Kind) -> str:
    return {"bytes": "100 KB", "seconds": "5 ms", "joules": "3 mJ", "points": "1 pt"}[kind]


@dataclass(frozen=True)
class _Scale:
    factor: float
    unit: str


_SHOWN: dict[str, tuple[_Scale, ...]] = {
    "B": (_Scale(1, "B"), _Scale(1e3, "kB"), _Scale(1e6, "MB"), _Scale(1e9, "GB")),
    "s": (_Scale(1e-6, "µs"), _Scale(1e-3, "ms"), _Scale(1, "s")),
    "J": (_Scale(1e-6, "µJ"), _Scale(1e-3, "mJ"), _Scale(1, "J")),
    "MAC": (_Scale(1, "MACs"), _Scale(1e3, "k MACs"), _Scale(1e6, "M MACs"), _Scale(1e9, "G MACs")),
}


def show(value: float, unit: str) -> str:
    """Write an SI value for people: ``show(61234, "B") == "61.2 kB"``; ``"%"`` is a fraction of 1."""
    if unit == "%":
        return f"{100 * value:.2f} %"
    if unit == "pt":
        return f"{100 * value:+.2f} pt"
    if unit == "x":
        return f"{value:.2f}×"
    if unit not in _SHOWN:
        return f"{value:.4g} {unit}".strip()
    scales = _SHOWN[unit]
    scale = max(
        (s for s in scales if abs(value) >= s.factor), key=lambda s: s.factor, default=scales[0]
    )
    return (
        f"{value / scale.factor:.3g} {scale.unit}"
        if abs(value / scale.factor) < 1000
        else (f"{value / scale.factor:,.0f} {scale.unit}")
    )
