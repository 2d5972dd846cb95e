"""An ordered tuple of passes; round-trips to TOML."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import tomli_w

from netsuke.core.errors import NetsukeError
from netsuke.core.passes import Pass
from netsuke.core.registry import named


@dataclass(frozen=True, init=False)
class Recipe:
    """``Recipe(Channels(ratio=0.3), StaticInt8())``: passes in the order they are applied."""

    passes: tuple[Pass, ...]

    def __init__(self, *passes: Pass) -> None:
        object.__setattr__(self, "passes", passes)

    def __iter__(self) -> Iterator[Pass]:
        return iter(self.passes)

    def __len__(self) -> int:
        return len(self.passes)

    def to_toml(self) -> str:
        """One ``[[pass]]`` table a pass, ``use`` naming it, the rest its settings."""
        return tomli_w.dumps(
            {"pass": [{"use": p.name, **_toml(p.settings())} for p in self.passes]}
        )


def read_recipe(text: str, origin: str = "recipe") -> Recipe:
    """A recipe from TOML. Raises NetsukeError naming ``origin``, the pass and the field."""
    try:
        tables = tomllib.loads(text).get("pass", [])
    except tomllib.TOMLDecodeError as error:
        raise NetsukeError(f"{origin}: not valid TOML: {error}") from error
    if not isinstance(tables, list) or not tables:
        raise NetsukeError(f"{origin}: no [[pass]] table")
    return Recipe(*(_pass(table, origin) for table in tables))


def make_pass(name: str, settings: Mapping[str, Any]) -> Pass:
    """The pass of that name with these settings. Raises NetsukeError naming an unknown field."""
    kind = named(Pass, "netsuke.passes", name)  # type: ignore[type-abstract]
    names = [field.name for field in fields(kind)]
    if unknown := set(settings) - set(names):
        known = ", ".join(names) or "no settings"
        raise NetsukeError(f"{name}: no setting {', '.join(sorted(unknown))}; there are: {known}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})


def _pass(table: Mapping[str, Any], origin: str) -> Pass:
    if not isinstance(table, Mapping) or "use" not in table:
        raise NetsukeError(f'{origin}: a [[pass]] needs use = "…", the name of a pass')
    try:
        return make_pass(table["use"], {k: v for k, v in table.items() if k != "use"})
    except NetsukeError as error:
        raise NetsukeError(f"{origin}: {error}") from error


def _toml(settings: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has no null and no tuple."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items() if v is not None}
