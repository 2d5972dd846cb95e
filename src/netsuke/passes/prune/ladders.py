"""The widths a layer may have: what a device's kernels like."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from netsuke.nets.channels.groups import Group, Groups, Member
from netsuke.nets.channels.labels import Ints

LEVELS = 8
"""A wide layer's width goes down in about this many steps."""


class Ladders:
    """Widths are multiples of the kernels' width, or half of it where a layer gets that narrow.

    Below that nothing gets faster (measured on ResNet-20: 11, 22, 45 channels are slower in INT8
    than 16, 32, 64). A layer that is narrower from the start may be halved once.
    """

    def __init__(self, known: Groups, kernel: int) -> None:
        self._known, self._kernel = known, kernel
        self._dimensions = _dimensions(known)

    def below(self, widths: tuple[int, ...], group_id: int) -> Iterator[int]:
        """Numbers of units, below the present one, that give the group's layer a good width."""
        present = widths[group_id]
        yield from (n for n in reversed(self._good(widths, group_id)) if n < present)

    def above(self, widths: tuple[int, ...], group_id: int) -> Iterator[int]:
        """The same upwards, as far as all of them."""
        present = widths[group_id]
        yield from (n for n in self._good(widths, group_id) if n > present)

    def _good(self, widths: tuple[int, ...], group_id: int) -> list[int]:
        group = self._known.groups[group_id]
        member = main(group)
        each, others = per_unit(group, member), self._others(member, widths, group_id)
        allowed = self._allowed(len(member.unit))
        good = [n for n in range(group.units) if others + n * each in allowed]
        return [*good, group.units]

    def empties(self, keep: Mapping[int, Iterable[int]]) -> bool:
        """Whether some layer would be left without any channel."""
        stays = self._known.stays(keep)
        return any(not stays[units].any() for units in self._dimensions.values())

    def width(self, tensor: str, dim: int, keep: Mapping[int, Iterable[int]]) -> int:
        """Indices that stay along one dimension of a tensor that groups reach into."""
        return int(self._known.stays(keep)[self._dimensions[tensor, dim]].sum())

    def _allowed(self, whole: int) -> set[int]:
        half = max(1, self._kernel // 2)
        if whole <= half:
            return {max(1, whole // 2)}
        step = max(self._kernel, round(whole / LEVELS / self._kernel) * self._kernel)
        return {half, *range(step, whole, step)}

    def _others(self, member: Member, widths: tuple[int, ...], group_id: int) -> int:
        """Channels of the layer that are not this group's, as many as are left of them."""
        count = len(member.unit) - int((member.unit >= 0).sum())
        for group in self._known.groups:
            if group.id != group_id and widths[group.id] < group.units:
                for m in group.members:
                    if (m.tensor, m.dim) == (member.tensor, member.dim):
                        count -= per_unit(group, m) * (group.units - widths[group.id])
        return count


def main(group: Group) -> Member:
    """The dimension a group is known by: that of the first layer which makes its channels."""
    return next((m for m in group.members if m.role == "producer"), group.members[0])


def per_unit(group: Group, member: Member) -> int:
    """Indices of the dimension that leave with each unit (a head has many)."""
    return max(1, int((member.unit >= 0).sum()) // group.units)


def _dimensions(known: Groups) -> dict[tuple[str, int], Ints]:
    """For every dimension that groups reach into, the number of each index's unit."""
    found: dict[tuple[str, int], Ints] = {}
    for group in known.groups:
        for m in group.members:
            numbers = np.where(m.unit >= 0, m.unit + known.first[group.id], -1)
            before = found.get((m.tensor, m.dim))
            found[m.tensor, m.dim] = numbers if before is None else np.maximum(before, numbers)
    return found
