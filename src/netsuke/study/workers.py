"""Who tries a study's recipes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netsuke.core.recipe import Recipe
from netsuke.study.laboratory import Laboratory
from netsuke.study.trial import Outcome, tried


@dataclass(frozen=True)
class Asked:
    """A trial to be made. rungs: what earlier ones came to on theirs."""

    number: int
    recipe: Recipe
    rungs: Sequence[Mapping[str, Any]]


class Workers(ABC):
    """Some places where trials are made, each one at a time."""

    @property
    @abstractmethod
    def room(self) -> int:
        """How many more trials can begin now."""

    @abstractmethod
    def begin(self, asked: Asked) -> None:
        """Begin a trial, where there is room."""

    @abstractmethod
    def ended(self) -> tuple[Asked, Outcome]:
        """The next trial that ends; waits for it."""


class Here(Workers):
    """This process, one trial after the other."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory
        self._asked: Asked | None = None

    @property
    def room(self) -> int:
        return 0 if self._asked else 1

    def begin(self, asked: Asked) -> None:
        self._asked = asked

    def ended(self) -> tuple[Asked, Outcome]:
        asked = self._asked
        assert asked is not None, "nothing was begun"
        outcome = tried(asked.recipe, self._laboratory, asked.rungs)
        self._asked = None
        return asked, outcome
