"""Samples of the calibration data, as batches of the inputs a model takes."""

from collections.abc import Iterator
from math import prod

from torch import Tensor

from netsuke.core.data import Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets import graph
from netsuke.nets.data import batches

BATCH = 32
"""Small: a batch's activations, all layers in turn, are what calibration holds in memory."""
LEAST, VALUES = 8, 2**21
"""Fewer samples a batch, but not fewer than these, where one activation of it has more values."""


class Calibration:
    """At most ``limit`` samples of the calibration data in small batches of inputs, drawn by the goal's
    seed; the first ones where the data cannot be read by index.

    Read anew each time it is iterated: never all in memory. count: how many the last time gave.
    """

    def __init__(self, model: Model, goal: Goal, limit: int) -> None:
        self._stream, self._limit, self._example = _drawn(goal, limit), limit, model.example
        self.count, self._size = 0, _batch(model)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        self.count = 0
        for inputs, _ in batches(self._stream, self._size, example=self._example):
            kept = tuple(x[: self._limit - self.count] for x in inputs)
            self.count += len(kept[0])
            yield kept
            if self.count >= self._limit:
                return


def _batch(model: Model) -> int:
    """Samples to run at once."""
    found = graph.shapes(model.network, model.example).values()
    largest = max(prod(shape[1:]) for shape in found)
    return max(LEAST, min(BATCH, VALUES // largest))


def _drawn(goal: Goal, limit: int) -> Stream:
    stream = goal.data.calibrate
    try:
        return stream.head(limit, goal.seed)
    except NetsukeError:
        return stream
