"""An output layer for the first part, so that what is easy need not go further."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from netsuke.core.artifact import Artifact
from netsuke.core.cut import Part
from netsuke.core.data import Array, Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.feed import feed
from netsuke.core.head import Head, least_squares, means, sureness
from netsuke.core.runtime import Runtime
from netsuke.serving.network import Exits

BATCH = 64


@dataclass(frozen=True)
class Fitted:
    """head: the output layer. share: of the samples it was judged on, how many it answered. lost: how many of all became
    wrong by it, less those that became right."""

    head: Head
    share: float
    lost: float


def fitted(artifact: Artifact, first: Part, runtime: Runtime, how: Exits) -> Fitted:
    """A head behind the first part, and how sure it has to be: as little as loses no more than is allowed.

    Raises NetsukeError where more than one tensor crosses, or outputs are no classes.
    """
    tensor = _crossing(first)
    whole, part = runtime.open(artifact), runtime.open(first.artifact)

    def answers(stream: Stream) -> Iterator[tuple[Array, Array, Array | None]]:
        for batch in stream.batches(BATCH):
            inputs = feed(batch, artifact, stream.field)
            yield part.run(inputs)[0], whole.run(inputs)[0], batch.targets

    crossing, wanted, _ = (_joined(rows) for rows in zip(*answers(how.fit), strict=True))
    if wanted.ndim != 2:
        raise NetsukeError(
            "serve: its outputs are no classes, of which an early answer could be sure"
        )
    channels = 1 if crossing.ndim in (2, 4) else crossing.ndim - 1
    weight, bias = least_squares(means(crossing, channels), wanted)
    head = Head(tensor, channels, weight, bias, threshold=2.0)
    crossing, wanted, labels = (_joined(rows) for rows in zip(*answers(how.judge), strict=True))
    return _sure_enough(
        head, head.answer(crossing)[0], wanted.argmax(1) == labels, labels, how.lost
    )


def _crossing(first: Part) -> str:
    if len(first.leaves) != 1 or first.passes:
        raise NetsukeError(
            f"serve: {len(first.leaves)} tensors cross the first cut, an early answer is made of one; serve it without"
        )
    return first.leaves[0]


def _sure_enough(head: Head, outputs: Array, whole: Array, labels: Array, lost: float) -> Fitted:
    """Samples from the surest on: as many as may be answered early."""
    sure, early = sureness(outputs), outputs.argmax(1) == labels
    order = np.argsort(-sure, kind="stable")
    cost = np.cumsum(whole[order].astype(int) - early[order].astype(int)) / len(order)
    allowed = np.flatnonzero(cost <= lost)
    count = int(allowed[-1]) + 1 if len(allowed) else 0
    threshold = float(sure[order[count - 1]]) if count else 2.0
    return Fitted(
        replace(head, threshold=threshold),
        count / len(order),
        float(cost[count - 1]) if count else 0.0,
    )


def _joined(rows: tuple[Array | None, ...]) -> Array:
    kept = [row for row in rows if row is not None]
    return np.concatenate(kept) if kept else np.zeros(0)
