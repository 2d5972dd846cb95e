"""Layers that a user names: by their own name, or by that of a module around them."""

from collections.abc import Collection, Iterable

from netsuke.core.errors import NetsukeError
from netsuke.core.registry import nearest


def within(layer: str, name: str) -> bool:
    """Whether a layer is the one named, or stands inside the module named."""
    return layer == name or layer.startswith(f"{name}.")


def is_named(layer: str, names: Iterable[str]) -> bool:
    """Whether a layer is, or stands inside, one of these."""
    return any(within(layer, name) for name in names)


def check_named(
    where: str, names: Iterable[str], known: Collection[str], told: Collection[str] | None = None
) -> None:
    """Raise NetsukeError, from the setting ``where``, at a name that no known layer has.

    told: the layers that the message may offer; all known ones when not given.
    """
    for name in names:
        if not any(within(layer, name) for layer in known):
            near = nearest(name, sorted(known if told is None else told))
            raise NetsukeError(f"{where}: no layer {name!r}; {near}")
