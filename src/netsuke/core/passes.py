"""A pass: one technique with its settings, Model → Model."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model


@dataclass(frozen=True)
class Range:
    """The values a numeric setting may take, ends included; in ``Annotated[float, Range(0, 1)]``."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Pass(ABC):
    """One technique. Its fields are its config, its recipe schema and its search space at once.

    A subclass is a frozen dataclass with a ``name`` such as ``prune.channels``; fields are numbers,
    strings, booleans or tuples of strings, with a ``Range`` or a ``Literal`` where they are limited.
    """

    name: ClassVar[str]
    elsewhere: ClassVar[str] = ""
    """What it gains that neither its size nor its speed on one device shows, in words; empty where they show all."""

    @property
    def asks_device(self) -> bool:
        """Whether what it makes may be another for another device. Where not, and only there, a pass says so:
        a fit for several devices then does it once."""
        return True

    def __post_init__(self) -> None:
        check_fields(self, self.name)

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Why this pass cannot help this model and goal, in one line; None when it can."""
        return None

    @abstractmethod
    def apply(self, model: Model, goal: Goal) -> Model:
        """The model carved. Leaves ``model`` untouched; deterministic for the same ``goal.seed``."""

    def remedies(self) -> tuple["Pass", ...]:
        """What to try when the gate undid this pass: cheapest first, each a whole pass."""
        return ()

    def settings(self) -> dict[str, Any]:
        """The fields, ready for TOML."""
        return asdict(self)


def check_fields(config: Any, name: str) -> None:
    """Raise NetsukeError where a field of a dataclass is not of its type, or outside its Range or Literal; name: of what it
    configures."""
    hints = get_type_hints(type(config), include_extras=True)
    for f in fields(config):
        _check(f"{name}.{f.name}", getattr(config, f.name), hints[f.name])


def _check(name: str, value: Any, hint: Any) -> None:
    """Raise where a value is not of its field's type, or outside its Range or Literal."""
    base = getattr(hint, "__origin__", hint) if hasattr(hint, "__metadata__") else hint
    if value is None and type(None) in get_args(base):
        return
    if get_origin(base) is Literal and value not in get_args(base):
        raise NetsukeError(f"{name}: {value!r} is none of {', '.join(map(repr, get_args(base)))}")
    if get_origin(base) is tuple and not isinstance(value, tuple):
        raise NetsukeError(f"{name}: {value!r} is not a tuple")
    if base in (int, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise NetsukeError(f"{name}: {value!r} is not a number")
    if base is int and not isinstance(value, int):
        raise NetsukeError(f"{name}: {value!r} is not a whole number")
    if base in (bool, str) and not isinstance(value, base):
        raise NetsukeError(f"{name}: {value!r} is not a {base.__name__}")
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Range) and not extra.low <= value <= extra.high:
            raise NetsukeError(f"{name}: {value} is outside {extra.low} … {extra.high}")
