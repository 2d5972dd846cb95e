"""Whoever watches a walk: the CLI, the studio, or nobody."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from netsuke.core.evidence import Evidence

T = TypeVar("T")


class Observer:
    """Watches and says nothing. Subclass it to show what happens."""

    def note(self, text: str) -> None:
        """Something a person should know."""

    def baseline(self, evidence: tuple[Evidence, ...]) -> None:
        """The original was exported and measured."""

    def step(self, record: dict[str, Any]) -> None:
        """A step was decided; ``record`` is its entry in the run's record."""

    def track(self, items: Iterable[T], label: str) -> Iterator[T]:
        """Pass items through, showing progress."""
        yield from items
