"""What the user does not protect."""

from netsuke.nets.channels.rehearsal import Parts
from netsuke.nets.protect import check_named, is_named
from netsuke.passes.prune.space import Part
from netsuke.passes.prune.wording import layers_of


def unprotected(found: Parts, protect: tuple[str, ...], where: str) -> tuple[Part, ...]:
    """The groups and branches in none of the layers named.

    where: the setting the names come from. Raises NetsukeError at a name that no layer has.
    """
    every: tuple[Part, ...] = (*found.groups, *found.branches)
    known = {layer for part in every for layer in layers_of(part)}
    known |= {layer for layer, _ in found.groups.protected}
    check_named(where, protect, known)
    return tuple(p for p in every if not any(is_named(name, protect) for name in layers_of(p)))
