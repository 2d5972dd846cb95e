"""Channel groups: which channels of a network can leave, and what must leave with each.

A *unit* is the least that can leave: a channel with all weights that make it, normalise it and take
it in, through residual adds, concatenations, reshapes and attention heads. Units of the same place
form a group. Found by labelling every index of every tensor (``labels``), operation by operation
(``rules``); what a rule does not know is protected, by name and source line.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from netsuke.core.model import Model
from netsuke.nets.calls import Call, record
from netsuke.nets.channels.labelling import Labelling, layer_of
from netsuke.nets.channels.labels import Ints, Slot
from netsuke.nets.channels.norms import statistics
from netsuke.nets.channels.rules import label

Role = Literal["producer", "consumer", "other"]
Heads = Literal["whole", "narrower"]
Keep = Mapping[int, Iterable[int]]
"""Group id → the units that stay; groups that are not named stay whole."""


@dataclass(frozen=True, eq=False)
class Member:
    """One dimension of one parameter or buffer that a group reaches into.

    unit: for every index of the dimension the unit it belongs to, −1 where to none of this group.
    """

    tensor: str
    dim: int
    role: Role
    unit: Ints

    def indices(self, unit: int) -> Ints:
        """The indices that leave with a unit."""
        return np.flatnonzero(self.unit == unit)


@dataclass(frozen=True, eq=False)
class Group:
    """Units that are alike. name: the layer that makes them. units: how many there are.

    producers, consumers: names of the layers that make and take in the channels.
    """

    id: int
    name: str
    units: int
    members: tuple[Member, ...]

    @property
    def producers(self) -> tuple[str, ...]:
        return _layers(m for m in self.members if m.role == "producer")

    @property
    def consumers(self) -> tuple[str, ...]:
        return _layers(m for m in self.members if m.role == "consumer")


@dataclass(frozen=True, eq=False)
class Groups:
    """All channel groups of a network.

    protected: (layer, why its channels must stay). axes: for every node that gives a tensor (or
    several: a list) one array per dimension with the unit of each index, numbered through all
    groups, −1 where the index is fixed. first: the number of each group's unit 0.
    """

    groups: tuple[Group, ...]
    protected: tuple[tuple[str, str], ...]
    axes: Mapping[str, Any] = field(repr=False)
    first: tuple[int, ...] = ()

    def __iter__(self) -> Any:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def consumers(self) -> tuple[str, ...]:
        """Names of the tensors whose zeros silence units: of most groups, those that take them in."""
        return tuple(dict.fromkeys(m.tensor for g in self.groups for m in silencers(g)))

    def stays(self, keep: Keep) -> np.ndarray:
        """For every unit number whether it stays; the last entry is for −1 and is True."""
        total = sum(g.units for g in self.groups)
        stays = np.ones(total + 1, dtype=bool)
        for group_id, units in keep.items():
            group = self.groups[group_id]
            stays[self.first[group_id] : self.first[group_id] + group.units] = False
            stays[self.first[group_id] + np.asarray(list(units), dtype=np.int64)] = True
        return stays


def silencers(group: Group) -> tuple[Member, ...]:
    """What to fill with zeros to silence a unit: whatever takes it in, or, where no weight does (keys
    meet queries), whatever makes it."""
    return tuple(m for m in group.members if m.role == "consumer") or group.members


def groups(model: Model, heads: Heads = "whole") -> Groups:
    """The channel groups of a model. Runs it once on its example; about a second for a big one.

    A dimension that is split (attention heads, channel shuffle) can keep its channels in any of its
    parts: each is tried, and the one that leaves more to prune is taken. heads: whether attention
    heads leave whole, or all get narrower alike; a cut of one kind can follow one of the other.
    """
    calls = record(model.network, model.example)
    start = Labelling({}, {}, statistics(calls), heads == "narrower")
    best = _walk(calls, start)
    for key, options in list(best.splits.items()):
        now = best.choices.get(key, options - 1 if best.narrow else 0)
        for option in {*range(options)} - {now}:
            choices = {**best.choices, key: option}
            other = _walk(calls, replace(start, choices=choices))
            if _count(other) > _count(best):
                best = other
    return _collect(best, calls)


def _walk(calls: tuple[Call, ...], start: Labelling) -> Labelling:
    """A walk with labels of its own; movements observed are kept for the next."""
    walk = Labelling(start.choices, start.moves, start.statistics, start.narrow)
    for call in calls:
        walk.axes[call.node] = label(walk, call)
    return walk


def _units(walk: Labelling) -> dict[tuple[tuple[Slot, int], ...], list[int]]:
    """Classes that can leave, by where they reach: how many indices of which slots."""
    classes = walk.book.classes()
    reach: dict[int, list[tuple[Slot, int]]] = {}
    for slot, (start, size) in walk.book.starts.items():
        if start:
            found, counts = np.unique(classes.of[start : start + size], return_counts=True)
            for c, n in zip(found.tolist(), counts.tolist(), strict=True):
                if c not in classes.reasons:
                    reach.setdefault(c, []).append((slot, n))
    alike: dict[tuple[tuple[Slot, int], ...], list[int]] = {}
    for c, slots in reach.items():
        if any(slot in walk.book.roles for slot, _ in slots):
            alike.setdefault(tuple(slots), []).append(c)
    return alike


def _count(walk: Labelling) -> int:
    """Units that can leave while at least one of their kind stays."""
    return sum(len(classes) - 1 for classes in _units(walk).values())


def _collect(walk: Labelling, calls: tuple[Call, ...]) -> Groups:
    classes = walk.book.classes()
    number = np.full(int(classes.of.max()) + 2, -1, dtype=np.int64)  # the last is for class −1
    made: list[Group] = []
    first: list[int] = []
    total = 0
    for slots, members in _units(walk).items():
        number[members] = np.arange(total, total + len(members))
        first.append(total)
        here = np.full_like(number, -1)
        here[members] = np.arange(len(members))
        reached = tuple(_member(walk, slot, here[classes.of]) for slot, _ in slots)
        made.append(Group(len(made), _name(reached), len(members), reached))
        total += len(members)
    unit = number[classes.of]
    axes = {call.node.name: _numbered(walk.axes[call.node], unit) for call in calls}
    return Groups(tuple(made), _protected(walk), axes, tuple(first))


def _member(walk: Labelling, slot: Slot, unit: Ints) -> Member:
    start, size = walk.book.starts[slot]
    role: Any = walk.book.roles.get(slot, "other")
    return Member(slot.tensor, slot.dim, role, unit[start : start + size])


def _numbered(axes: Any, unit: Ints) -> Any:
    if isinstance(axes, list):
        return [_numbered(a, unit) for a in axes]
    return tuple(unit[labels] for labels in axes) if isinstance(axes, tuple) else None


def _protected(walk: Labelling) -> tuple[tuple[str, str], ...]:
    """Layers some of whose channels must stay, each with the first reason found."""
    classes = walk.book.classes()
    found = dict(walk.book.protected)
    for slot, role in walk.book.roles.items():
        if role != "producer":
            continue
        start, size = walk.book.starts[slot]
        for c in np.unique(classes.of[start : start + size]).tolist():
            if c in classes.reasons:
                found.setdefault(layer_of(slot.tensor), classes.reasons[c])
    return tuple(found.items())


def _name(members: tuple[Member, ...]) -> str:
    """The group's first producer, else whatever it reaches first."""
    return layer_of(next((m for m in members if m.role == "producer"), members[0]).tensor)


def _layers(members: Iterable[Member]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer_of(m.tensor) for m in members))
