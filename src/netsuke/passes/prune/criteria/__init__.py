"""Criteria of importance, a file each."""

from netsuke.core.registry import named
from netsuke.nets.channels.importance import Criterion


def criterion(name: str) -> Criterion:
    """The criterion of that name. Raises NetsukeError listing near names."""
    return named(Criterion, "netsuke.passes.prune.criteria", name)()  # type: ignore[type-abstract]
