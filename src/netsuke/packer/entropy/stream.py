"""Symbols to bytes and back: which planes and contexts, the tables, then the codes."""

from collections.abc import Iterator

import numpy as np

from netsuke.packer.block import Array
from netsuke.packer.entropy.bits import Cursor, varint
from netsuke.packer.entropy.choose import Plan, by_context, choose, contexts_of
from netsuke.packer.entropy.coder import Decoder, Models
from netsuke.packer.entropy.coder import encode as coded
from netsuke.packer.entropy.contexts import (
    FLAT,
    ROWS,
    Layout,
    Means,
    arranged,
    layout,
    magnitudes,
    means,
    restored,
)
from netsuke.packer.entropy.histogram import coded_size, read, write

SHARE = 448
"""Bytes that a lane writes, about: each costs three of its own."""
MANY = 1 << 17
"""Symbols beyond which one lane is too slow, however few bytes they make."""
FEWEST, LANES = 5, 12
"""Lanes as powers of 2: fewer than the first are slower than a single one; the most there are."""
RUN = 1 << 18
"""Symbols decoded at a time where there are no planes."""


def encode(symbols: Array, alphabet: int, shape: tuple[int, ...]) -> bytes:
    """Symbols below ``alphabet`` (at most 256) of a tensor of this shape, at their entropy."""
    if alphabet == 1:
        return b""
    plan = choose(symbols, np.bincount(symbols, minlength=alphabet), shape)
    ordered = arranged(symbols, plan.layout)
    contexts = _contexts(ordered, plan, alphabet)
    counts = by_context(ordered, contexts, alphabet)
    tables = [write(row) for row in counts]
    models = Models(np.stack([table.frequencies for table in tables]))
    lanes = _lanes(coded_size(counts, models.frequencies), len(symbols))
    cells = ordered + contexts.astype(np.uint16) * np.uint16(alphabet)
    body = coded(cells, _runs(plan.layout), 1 << lanes, models)
    return b"".join([_head(plan, lanes), *(table.content for table in tables), body])


def decode(
    payload: memoryview, alphabet: int, shape: tuple[int, ...], count: int
) -> Iterator[Array]:
    """The symbols, in pieces. Raises ValueError or IndexError where they are no such thing."""
    cursor = Cursor(payload)
    if not 0 < alphabet <= 256:
        raise ValueError("it has no symbols, or too many")
    if alphabet == 1:
        if len(payload):
            raise ValueError("it has more than one symbol")
        yield from (np.zeros(run, np.uint8) for run in _runs(layout(FLAT, (), count)))
        return
    plan, lanes = _read_head(cursor, shape, count)
    buckets = plan.buckets(alphabet)
    tables = [read(cursor, alphabet) for _ in range(buckets.contexts)]
    decoder = Decoder(cursor.rest, 1 << lanes, Models(np.stack(tables)))
    if plan.layout.kind == FLAT:
        yield from (decoder.run(run, None) for run in _runs(plan.layout))
    else:
        planes = _planes(decoder, plan, alphabet)
        if plan.layout.kind == ROWS:
            yield from planes
        else:
            yield restored(np.concatenate(list(planes)), plan.layout)
    decoder.finish()


def _planes(decoder: Decoder, plan: Plan, alphabet: int) -> Iterator[Array]:
    buckets = plan.buckets(alphabet)
    so_far = Means(plan.layout, magnitudes(plan.centre, alphabet))
    for number, run in enumerate(plan.layout.runs):
        plane = decoder.run(run, buckets.of(so_far.values, number, run))
        so_far.add(plane)
        yield plane


def _contexts(ordered: Array, plan: Plan, alphabet: int) -> Array:
    if plan.layout.kind == FLAT:
        return np.zeros(len(ordered), np.uint8)
    known = list(means(ordered, plan.layout, magnitudes(plan.centre, alphabet)))
    return contexts_of(known, plan.layout, plan.buckets(alphabet))


def _runs(plan: Layout) -> list[int]:
    """Symbols after which the lanes start over."""
    if plan.kind != FLAT:
        return plan.runs
    return [min(RUN, plan.columns - at) for at in range(0, plan.columns, RUN)]


def _lanes(size: float, count: int) -> int:
    """Lanes for so many bytes of so many symbols, as a power of 2."""
    lanes = int(size / SHARE).bit_length() - 1
    if lanes < FEWEST:
        return FEWEST if count > MANY else 0
    return min(LANES, lanes)


def _head(plan: Plan, lanes: int) -> bytes:
    head = bytes([plan.layout.kind | lanes << 2])
    if plan.layout.kind == FLAT:
        return head
    edges = b"".join(varint(edge) for edge in plan.edges)
    return head + bytes([plan.centre, len(plan.edges), plan.first]) + edges


def _read_head(cursor: Cursor, shape: tuple[int, ...], count: int) -> tuple[Plan, int]:
    head = cursor.byte()
    kind, lanes = head & 3, head >> 2
    if lanes > LANES:
        raise ValueError("it has too many lanes")
    plan = layout(kind, shape, count)
    if kind == FLAT:
        return Plan(plan, [], 0, 0), lanes
    centre, edges, first = cursor.byte(), cursor.byte(), cursor.byte()
    return Plan(plan, [cursor.varint() for _ in range(edges)], first, centre), lanes
