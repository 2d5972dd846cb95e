"""A figure that nobody measured, with the range it is expected in."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from netsuke.core.quantity import show

PROPOSED = {
    "size": "size", "latency_p50": "a call", "memory": "memory", "energy": "energy", "drop": "quality lost",
    "work": "work",
}  # fmt: skip
"""What a proposal is told by, and what that is called."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """value: the middle of what is expected; low, high: where it is expected to lie. source: what that rests
    on."""

    value: float
    low: float
    high: float
    unit: str
    source: str

    @staticmethod
    def within(value: float, spread: tuple[float, float], unit: str, source: str) -> "Guess":
        """From shares of the value, such as (0.8, 1.25)."""
        return Guess(
            value=value, low=value * spread[0], high=value * spread[1], unit=unit, source=source
        )

    def covers(self, value: float) -> bool:
        """Whether what was measured is where it was expected."""
        return self.low <= value <= self.high

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Guess":
        return Guess(**data)

    def __str__(self) -> str:
        """``71 kB (67 kB … 75 kB)``."""
        value, low, high = (show(x, self.unit) for x in (self.value, self.low, self.high))
        return f"{value} ({low} … {high})"


def proposed(guess: Guess, gain: float | None) -> str:
    """``71 kB (3.9×)``, and where nothing is gained the range: ``0.1 pt (-0.5 … 1)``."""
    if gain is not None:
        return f"{show(guess.value, guess.unit)} ({gain:.1f}×)"
    if guess.unit == "pt":
        low, high = (f"{100 * x:+.1f}" for x in (guess.low, guess.high))
        return f"{100 * guess.value:.1f} pt ({low} … {high})"
    return show(guess.value, guess.unit)
