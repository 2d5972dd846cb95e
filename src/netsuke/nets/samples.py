"""Samples of the calibration data, as batches of the inputs a model takes."""

from collections.abc import Iterator

from torch import Tensor

from netsuke.core.data import Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.data import batches

BATCH = 32
"""Small: a batch's activations, all layers in turn, are what calibration holds in memory."""


def calibration(model: Model, goal: Goal, limit: int) -> Iterator[tuple[Tensor, ...]]:
    """At most ``limit`` samples, drawn by the goal's seed; the first ones where the data cannot be
    read by index."""
    count = 0
    for inputs, _ in batches(_drawn(goal, limit), BATCH, example=model.example):
        kept = tuple(x[: limit - count] for x in inputs)
        count += len(kept[0])
        yield kept
        if count >= limit:
            return


def _drawn(goal: Goal, limit: int) -> Stream:
    stream = goal.data.calibrate
    try:
        return stream.head(limit, goal.seed)
    except NetsukeError:
        return stream
