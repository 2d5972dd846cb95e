"""Running an artifact over a stream, for the probes that look at outputs."""

import os
from collections.abc import Iterator

import numpy as np

from netsuke.core.artifact import Artifact
from netsuke.core.data import Array, Batch, Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.feed import feed
from netsuke.core.runtime import Session

BATCH = 64


def threads() -> int:
    """The cores this process may use; for outputs, not for times."""
    usable = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    return len(usable)


def first_outputs(
    session: Session, artifact: Artifact, stream: Stream
) -> Iterator[tuple[Batch, tuple[Array, ...], Array]]:
    """(batch, inputs as fed, first output) over the stream.

    An artifact that takes no batches, or whose outputs depend on them, is fed one sample at a time.
    Raises NetsukeError where an
    output is NaN or has another number of samples than the input.
    """
    for batch in _batches(stream, artifact):
        inputs = feed(batch, artifact, stream.field)
        output = _call(session, inputs)
        if output.ndim == 0 or len(output) != len(batch):
            raise NetsukeError(
                f"{artifact.path.name}: {len(batch)} samples gave an output of shape {output.shape}"
            )
        if output.dtype.kind == "f" and (bad := _rows_with_nan(output)):
            raise NetsukeError(f"{artifact.path.name}: {bad} of {len(batch)} outputs are NaN")
        yield batch, inputs, output


def _batches(stream: Stream, artifact: Artifact) -> Iterator[Batch]:
    for batch in stream.batches(BATCH):
        if artifact.alone:
            yield from batch.samples()
        else:
            yield batch


def _call(session: Session, inputs: tuple[Array, ...]) -> Array:
    try:
        return session.run(inputs)[0]
    except Exception:
        if len(inputs[0]) == 1:
            raise
        # Made for single samples? Then this works; if not, it says what is wrong.
        rows = [session.run([a[i : i + 1] for a in inputs])[0] for i in range(len(inputs[0]))]
        return np.concatenate(rows)


def _rows_with_nan(output: Array) -> int:
    return int(np.isnan(output).reshape(len(output), -1).any(1).sum())
