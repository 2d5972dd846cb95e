"""Plugins by their place in the tree, and by entry point."""

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar

from netsuke.core.errors import NetsukeError

T = TypeVar("T")


@cache
def registered(base: type[T], package: str) -> dict[str, type[T]]:
    """Every concrete subclass of ``base`` under ``package``, by its ``name``.

    A module of the package registers what it defines by standing there; a third party adds an
    entry point in the group of the package's name (``netsuke.passes``). Raises NetsukeError where
    two share a name.
    """
    from importlib.metadata import entry_points

    found: dict[str, type[T]] = {}
    for plugin in (*_placed(base, package), *(e.load() for e in entry_points(group=package))):
        name = plugin.name
        if found.setdefault(name, plugin) is not plugin:
            raise NetsukeError(
                f"{package}: two plugins are named {name!r}: {found[name]}, {plugin}"
            )
    return found


def named(base: type[T], package: str, name: str) -> type[T]:
    """The plugin of that name: where its module has the name too, no other is loaded, not even a third party's of
    the same name. Raises NetsukeError listing near names."""
    for plugin in _placed_at(base, package, name):
        if plugin.name == name:  # type: ignore[attr-defined]
            return plugin
    known = registered(base, package)  # type: ignore[arg-type]
    if name not in known:
        raise NetsukeError(f"{package}: no {name!r}; {nearest(name, known)}")
    return known[name]


def nearest(name: str, known: dict[str, Any] | list[str]) -> str:
    """``did you mean …`` or ``there are …``, for error messages."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else f"there are: {', '.join(sorted(known))}"


def _placed(base: type[T], package: str) -> list[type[T]]:
    root = importlib.import_module(package)
    modules = [
        importlib.import_module(info.name)
        for info in pkgutil.walk_packages(root.__path__, prefix=f"{package}.")
    ]
    return [member for module in modules for member in _defined(base, module)]


def _placed_at(base: type[T], package: str, name: str) -> list[type[T]]:
    """What the module of that name defines, where there is one."""
    if not all(part.isidentifier() for part in name.split(".")):
        return []
    try:
        there = find_spec(f"{package}.{name}") is not None
    except ModuleNotFoundError:
        return []
    return _defined(base, importlib.import_module(f"{package}.{name}")) if there else []


def _defined(base: type[T], module: ModuleType) -> list[type[T]]:
    return [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__
        and issubclass(member, base)
        and not inspect.isabstract(member)
    ]
