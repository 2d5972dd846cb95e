"""What a study may choose from: recipes with choices in them."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from netsuke.core.choices import Chooser, Noted
from netsuke.core.errors import NetsukeError
from netsuke.core.passes import Pass
from netsuke.core.recipe import Recipe, make_pass
from netsuke.core.registry import named

NOTHING = "nothing"


@dataclass(frozen=True)
class Span:
    """Any number from low to high, whole ones where both are."""

    low: float
    high: float

    def holds(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Option:
    """One pass that may stand in a slot. free: the settings that are chosen, a tuple of values or a Span
    each; fixed: those that are given."""

    use: str
    fixed: Mapping[str, Any]
    free: Mapping[str, tuple[Any, ...] | Span]

    def made(self, chosen: Mapping[str, Any]) -> Pass:
        return make_pass(self.use, {**self.fixed, **chosen})


@dataclass(frozen=True)
class Slot:
    """A place in the recipe: one of these passes, or none where it is optional."""

    options: tuple[Option, ...]
    optional: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What may be chosen, in the order it was given."""
        return (*((NOTHING,) if self.optional else ()), *(option.use for option in self.options))


@dataclass(frozen=True)
class Space:
    """Slots in the order of the recipe."""

    slots: tuple[Slot, ...]

    def recipe(self, chooser: Chooser, student: Callable[[Chooser], Any] | None = None) -> Recipe:
        """One recipe; it may be empty where every slot is optional. student: an architecture of choices, which
        are made too where a pass trains the task's own."""
        passes = []
        for number, slot in enumerate(self.slots):
            name = chooser.one_of(str(number), slot.names)
            option = next((o for o in slot.options if o.use == name), None)
            if option is not None:
                chosen = {
                    key: _choose(chooser, f"{number} {name} {key}", free)
                    for key, free in option.free.items()
                }
                made = option.made(chosen)
                if student is not None and made.settings().get("student") == "own":
                    noted = Noted(chooser, f"{number} {name} choices")
                    student(noted)
                    made = option.made({**chosen, "choices": noted.settled})
                passes.append(made)
        return Recipe(*passes)

    def choices(self, recipe: Recipe) -> dict[str, Any] | None:
        """What must be chosen for a recipe; settings that it cannot have are left at the nearest it can.
        None where its passes do not fit the slots."""
        found: dict[str, Any] = {}
        left = list(recipe)
        for number, slot in enumerate(self.slots):
            option = next((o for o in slot.options if left and o.use == left[0].name), None)
            if option is None and not slot.optional:
                return None
            found[str(number)] = option.use if option else NOTHING
            if option is not None:
                given = left.pop(0).settings()
                for key, free in option.free.items():
                    found[f"{number} {option.use} {key}"] = _nearest(given[key], free)
        return None if left else found


def read_space(text: str, origin: str = "space") -> Space:
    """A space from TOML: ``[[slot]]`` tables with ``[[slot.pass]]`` tables in them, as in a recipe, but that a
    setting may be a list of values to choose from, or ``{low = …, high = …}``.

    Raises NetsukeError naming ``origin``, the pass and the setting.
    """
    try:
        tables = tomllib.loads(text).get("slot", [])
    except tomllib.TOMLDecodeError as error:
        raise NetsukeError(f"{origin}: not valid TOML: {error}") from error
    if not isinstance(tables, list) or not tables:
        raise NetsukeError(f"{origin}: no [[slot]] table")
    return Space(tuple(_slot(table, origin) for table in tables))


def _slot(table: Mapping[str, Any], origin: str) -> Slot:
    options = table.get("pass", [])
    if not isinstance(options, list) or not options:
        raise NetsukeError(f"{origin}: a [[slot]] needs a [[slot.pass]]")
    if unknown := set(table) - {"pass", "optional"}:
        raise NetsukeError(f"{origin}: a [[slot]] has no field {', '.join(sorted(unknown))}")
    try:
        made = tuple(_option(option) for option in options)
    except NetsukeError as error:
        raise NetsukeError(f"{origin}: {error}") from error
    twice = {o.use for o in made if [p.use for p in made].count(o.use) > 1}
    if twice:
        raise NetsukeError(f"{origin}: a slot names {', '.join(sorted(twice))} twice")
    return Slot(made, bool(table.get("optional", False)))


def _option(table: Mapping[str, Any]) -> Option:
    if not isinstance(table, Mapping) or "use" not in table:
        raise NetsukeError('a [[slot.pass]] needs use = "…", the name of a pass')
    use = str(table["use"])
    kind = named(Pass, "netsuke.passes", use)  # type: ignore[type-abstract]
    several = {f.name for f in fields(kind) if str(f.type).startswith("tuple")}
    fixed: dict[str, Any] = {}
    free: dict[str, tuple[Any, ...] | Span] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            free[key] = _span(f"{use}.{key}", value)
        elif isinstance(value, list) and key not in several:
            free[key] = tuple(value)
        elif key != "use":
            fixed[key] = value
    option = Option(use, fixed, free)
    # Every end and every value is tried, so that a name or a number that no pass takes is told now.
    for chosen in _ends(free):
        option.made(chosen)
    return option


def _span(name: str, value: Mapping[str, Any]) -> Span:
    if set(value) != {"low", "high"} or not value["low"] < value["high"]:
        raise NetsukeError(f"{name}: a span is {{low = …, high = …}}, low below high")
    return Span(value["low"], value["high"])


def _ends(free: Mapping[str, tuple[Any, ...] | Span]) -> list[dict[str, Any]]:
    """Choices in which each value of each setting occurs, the others at their first."""
    each = {
        key: (found.low, found.high) if isinstance(found, Span) else found
        for key, found in free.items()
    }
    for key, values in each.items():
        if not values:
            raise NetsukeError(f"{key}: there is nothing to choose from")
    first = {key: values[0] for key, values in each.items()}
    return [first, *({**first, key: v} for key, values in each.items() for v in values[1:])]


def _choose(chooser: Chooser, name: str, free: tuple[Any, ...] | Span) -> Any:
    if isinstance(free, Span):
        return chooser.number(name, free.low, free.high)
    return chooser.one_of(name, free)


def _nearest(value: Any, free: tuple[Any, ...] | Span) -> Any:
    if isinstance(free, Span):
        return min(max(value, free.low), free.high)
    if value in free:
        return value
    numbers = all(isinstance(v, int | float) for v in (value, *free))
    return min(free, key=lambda v: abs(v - value)) if numbers else free[0]
