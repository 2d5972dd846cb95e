"""One trial: a recipe tried, and what came of it in a form that can cross to another process."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from netsuke.core.errors import NetsukeError
from netsuke.core.quantity import show
from netsuke.core.recipe import Recipe
from netsuke.report.studied import UNITS
from netsuke.study.halving import climbed
from netsuke.study.laboratory import Laboratory
from netsuke.study.prefixes import RefusedError


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a trial, as JSON can hold it.

    values: by objective; over: by how much, as a share, it is beyond its worst limit; place: the name of what it made.
    reason: why it came to nothing, "" where it did not. rungs: what it came to on its way. busy, rest: seconds of
    carving and measuring, and of all else.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    over: float = 0.0
    place: str = ""
    reason: str = ""
    rungs: Mapping[str, Any] = field(default_factory=dict)
    busy: float = 0.0
    rest: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def said(self) -> str:
        """In words."""
        if self.reason:
            return self.reason
        each = ", ".join(f"{name} {show(v, UNITS[name])}" for name, v in self.values.items())
        return each if self.over <= 0 else f"{each}, beyond its limits"


def tried(recipe: Recipe, laboratory: Laboratory, earlier: Iterable[Mapping[str, Any]]) -> Outcome:
    """The recipe carved and measured; nothing that goes wrong with it is raised.

    earlier: what other trials came to on their rungs.
    """
    start = time.monotonic()

    def nothing(reason: str) -> Outcome:
        return Outcome(reason=reason, busy=time.monotonic() - start)

    try:
        climb = climbed(recipe, laboratory, earlier)
        if climb.stopped:
            return Outcome(reason=climb.stopped, rungs=climb.rungs, busy=climb.spent)
        result = laboratory.measure(recipe)
    except RefusedError as error:
        return nothing(f"refused: {error}")
    except (NetsukeError, MemoryError, RuntimeError) as error:
        return nothing(f"failed: {' '.join(str(error).split()) or type(error).__name__}")
    busy = climb.spent + result.working + result.measuring
    return Outcome(
        values=result.values, over=result.over, place=laboratory.prefixes.place(recipe).name,
        rungs=climb.rungs, busy=busy, rest=time.monotonic() - start - busy,
    )  # fmt: skip
