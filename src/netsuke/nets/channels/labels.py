"""Labels: which index of which dimension must leave together with which other.

Every dimension of every tensor in the network carries one label per index, an integer. Label 0 is
*fixed*: an index that may never leave (batch, height, size-1 dimensions). Rules join labels that
must leave together and lock those that must stay. At the end the joined labels are classes, found
as connected components, and a class that holds a locked label is locked as a whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]
Axes = tuple[Ints, ...]
"""One array of labels per dimension of one tensor."""


class Slot(NamedTuple):
    """One dimension of one parameter or buffer."""

    tensor: str
    dim: int


@dataclass
class Classes:
    """Labels after joining. of: label → class. reasons: locked class → why, first reason given."""

    of: Ints
    reasons: dict[int, str]


@dataclass
class Book:
    """Hands out labels and remembers what was joined, locked and used how.

    starts: the first label and the size of each parameter dimension, in order of use.
    roles: slots that make ("producer") or take in ("consumer") channels. protected: layers which no
    rule can follow into, and why.
    """

    count: int = 1
    starts: dict[Slot, tuple[int, int]] = field(default_factory=dict)
    roles: dict[Slot, str] = field(default_factory=dict)
    protected: dict[str, str] = field(default_factory=dict)
    _joined: list[tuple[Ints, Ints]] = field(default_factory=list)
    _locked: list[tuple[Ints, str]] = field(default_factory=list)

    def fresh(self, size: int) -> Ints:
        """New labels, one per index; a dimension of size 1 is fixed."""
        if size <= 1:
            return fixed(size)
        self.count += size
        return np.arange(self.count - size, self.count, dtype=np.int64)

    def parameter(self, name: str, shape: Iterable[int]) -> Axes:
        """The labels of a parameter or buffer: the same ones wherever it is used (tied weights)."""
        axes = []
        for dim, size in enumerate(shape):
            slot = Slot(name, dim)
            if slot not in self.starts:
                labels = self.fresh(size)
                self.starts[slot] = (int(labels[0]) if size > 1 else 0, size)
            start, size = self.starts[slot]
            axes.append(np.arange(start, start + size) if start else fixed(size))
        return tuple(axes)

    def role(self, labels: Ints, role: str) -> None:
        """Say that the parameter dimension these labels came from makes or takes channels."""
        first = int(labels[0]) if len(labels) else 0
        for slot, (start, size) in self.starts.items():
            if start and start <= first < start + size:
                self.roles[slot] = role

    def join(self, a: Ints, b: Ints, reason: str) -> Ints:
        """Make index i of both leave together; where one is fixed, the other becomes locked."""
        if len(a) != len(b):
            raise ValueError(f"{reason}: {len(a)} labels against {len(b)}")
        both = (a != 0) & (b != 0)
        if both.any():
            self._joined.append((a[both], b[both]))
        self.lock(np.where(both, 0, a + b), f"joined to a fixed dimension by {reason}")
        return np.where(both, a, 0)

    def lock(self, labels: Ints, reason: str) -> None:
        """These indices must stay, and whatever they are joined to."""
        real = np.unique(labels[labels != 0])
        if len(real):
            self._locked.append((real, reason))

    def classes(self) -> Classes:
        """Connected components of everything joined so far; label 0 is class −1."""
        of = _components(self.count, self._joined)
        of[0] = -1
        reasons: dict[int, str] = {}
        for labels, reason in self._locked:
            for c in np.unique(of[labels]):
                reasons.setdefault(int(c), reason)
        return Classes(of, reasons)


def fixed(size: int) -> Ints:
    """Labels of a dimension that stays as it is."""
    return np.zeros(size, dtype=np.int64)


def fixed_axes(tensor: Tensor) -> Axes:
    return tuple(fixed(size) for size in tensor.shape)


def any_label(axes: Axes) -> bool:
    return any(bool(dim.any()) for dim in axes)


def _components(count: int, joined: list[tuple[Ints, Ints]]) -> Ints:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not joined:
        return np.arange(count, dtype=np.int64)
    a = np.concatenate([pair[0] for pair in joined])
    b = np.concatenate([pair[1] for pair in joined])
    graph = coo_matrix((np.ones(len(a), dtype=bool), (a, b)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)
