"""Choices by name: what an architecture asks for that is a function of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from netsuke.core.errors import NetsukeError


class Chooser(Protocol):
    """Makes the choices, each by its name."""

    def one_of(self, name: str, options: Sequence[Any]) -> Any:
        """One of these."""

    def number(self, name: str, low: float, high: float) -> float:
        """A number from low to high, a whole one where both are."""


@dataclass(frozen=True)
class Settled:
    """Choices that were made, as "width=32"; what was not chosen is the last option, or the highest number.

    Raises NetsukeError for a choice without "=", and, when asked, for one that was not offered.
    """

    made: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for one in self.made:
            if "=" not in one:
                raise NetsukeError(f'choices: {one!r} is none; write "width=32"')

    def one_of(self, name: str, options: Sequence[Any]) -> Any:
        given = self._given(name)
        if given is None:
            return options[-1]
        for option in options:
            if str(option) == given:
                return option
        raise NetsukeError(f"choices: {name} = {given} is none of {', '.join(map(str, options))}")

    def number(self, name: str, low: float, high: float) -> float:
        given = self._given(name)
        if given is None:
            return high
        try:
            found = int(given) if isinstance(low, int) and isinstance(high, int) else float(given)
        except ValueError as error:
            raise NetsukeError(f"choices: {name} = {given} is no such number") from error
        if not low <= found <= high:
            raise NetsukeError(f"choices: {name} = {given} is not from {low} to {high}")
        return found

    def _given(self, name: str) -> str | None:
        return dict(one.split("=", 1) for one in self.made).get(name)


@dataclass(frozen=True)
class Noted:
    """Passes choices on to another chooser, under names of its own, and notes what came of each."""

    chooser: Chooser
    prefix: str
    found: dict[str, Any] = field(default_factory=dict)

    def one_of(self, name: str, options: Sequence[Any]) -> Any:
        self.found[name] = self.chooser.one_of(f"{self.prefix} {name}", options)
        return self.found[name]

    def number(self, name: str, low: float, high: float) -> float:
        self.found[name] = self.chooser.number(f"{self.prefix} {name}", low, high)
        found: float = self.found[name]
        return found

    @property
    def settled(self) -> tuple[str, ...]:
        """As ``Settled`` takes them."""
        return tuple(f"{name}={value}" for name, value in self.found.items())


def is_function(student: Any) -> bool:
    """Whether an architecture is a function of choices: modules can be called too, and have parameters."""
    return callable(student) and not hasattr(student, "parameters")
