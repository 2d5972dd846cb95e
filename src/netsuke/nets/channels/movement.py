"""Data movement (view, transpose, cat, pad, slice, …): one rule, by moving element numbers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netsuke.nets.channels.labels import Axes, Book, Ints, fixed

Choose = Callable[[list[int]], int]


class Movement(NamedTuple):
    """How one output of a data movement maps to the tensors moved.

    shapes: of the tensors moved. source: for every output element the number of the input element
    it copies, counted through all inputs in turn; −1 where it is filled in.
    """

    shapes: tuple[tuple[int, ...], ...]
    source: Ints


def observe(
    move: Callable[[list[Tensor]], Any], shapes: tuple[tuple[int, ...], ...]
) -> list[Movement]:
    """Run ``move`` on tensors whose elements are their own numbers; one Movement per output."""
    numbered, start = [], 0
    for shape in shapes:
        size = _size(shape)
        # float64 holds them exactly, and every movement operation accepts it
        numbered.append(torch.arange(start, start + size, dtype=torch.float64).reshape(shape))
        start += size
    result = move(numbered)
    outputs = result if isinstance(result, list | tuple) else [result]
    return [Movement(shapes, out.contiguous().numpy().astype(np.int64)) for out in outputs]


def follow(movement: Movement, axes: list[Axes], book: Book, choose: Choose, reason: str) -> Axes:
    """Labels of the output of a data movement.

    A labelled input dimension goes to the output dimension that tells its index. Where several
    tell it together (a split), ``choose`` picks the one that keeps labels, and indices that fall
    together there are joined; where none does (select), they are locked. Indices that nothing but
    filling reaches get fresh labels, so that padded channels can leave. ``reason`` is for messages.
    """
    source, start = movement.source, 0
    total: list[Ints] = [fixed(n) for n in source.shape]
    reached = [np.zeros(n, dtype=bool) for n in source.shape]
    for shape, labels in zip(movement.shapes, axes, strict=True):
        inside = (source >= start) & (source < start + _size(shape))
        if inside.any():
            local = np.where(inside, source - start, -1)
            moved = _one(local, shape, labels, book, choose, reason)
            for d in range(source.ndim):
                covers = _any_but(inside, d)
                total[d] = _combine(total[d], reached[d], moved[d], covers, book, reason)
                reached[d] |= covers
        start += _size(shape)
    return tuple(
        np.where(~reached[d], book.fresh(len(t)), t) if t.any() else t for d, t in enumerate(total)
    )


def _one(
    local: Ints, shape: tuple[int, ...], labels: Axes, book: Book, choose: Choose, reason: str
) -> list[Ints]:
    """Labels that one input brings to each output dimension."""
    found: list[Ints] = [fixed(n) for n in local.shape]
    for dim, dim_labels in enumerate(labels):
        if not dim_labels.any():
            continue
        stride = _size(shape[dim + 1 :])
        index = np.where(local >= 0, local // stride % shape[dim], -1)
        varying = [d for d in range(index.ndim) if _varies(index, d)]
        if not varying:
            book.lock(dim_labels, f"one index picked by {reason}")
            continue
        carrier = varying[0] if len(varying) == 1 else choose(varying)
        brought = _carried(index, varying, carrier, dim_labels, book, reason)
        clash = (found[carrier] != 0) & (brought != 0)
        for side in (found[carrier], brought):
            book.lock(np.where(clash, side, 0), f"two dimensions merged by {reason}")
        found[carrier] = np.where(clash, 0, found[carrier] + brought)
    return found


def _carried(
    index: Ints, varying: list[int], carrier: int, labels: Ints, book: Book, reason: str
) -> Ints:
    """Labels along ``carrier``; input indices that share one of its indices are joined."""
    rest = tuple(d for d in range(index.ndim) if d not in varying)
    small = index.max(axis=rest) if rest else index
    rows = np.moveaxis(small, varying.index(carrier), 0).reshape(index.shape[carrier], -1)
    first = rows.max(1)
    out = np.where(first >= 0, labels[first], 0)
    for column in rows.T if rows.shape[1] > 1 else ():
        known = column >= 0
        book.join(out[known], labels[column[known]], reason)
    return out


def _combine(
    total: Ints,
    reached: NDArray[np.bool_],
    moved: Ints,
    covers: NDArray[np.bool_],
    book: Book,
    reason: str,
) -> Ints:
    """Add what one more input brings: where two inputs share an index, they leave together."""
    both = reached & covers
    if both.any():
        total = total.copy()
        total[both] = book.join(total[both], moved[both], reason)
    return np.where(covers & ~reached, moved, total)


def _varies(index: Ints, dim: int) -> bool:
    """Whether the input index changes along this output dimension (filled elements aside)."""
    return bool(((index != index.max(dim, keepdims=True)) & (index >= 0)).any())


def _any_but(inside: NDArray[np.bool_], dim: int) -> NDArray[np.bool_]:
    others = tuple(d for d in range(inside.ndim) if d != dim)
    return np.asarray(inside.any(axis=others))


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
