"""A task's batches as the tensors a network takes, and whether they fit it."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from netsuke.core.data import Array, Batch, Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.core.task import Splits

Inputs = tuple[Tensor, ...]
LOOKED_AT = 4096
"""Samples that are read from a data set or loader to look for broken values; arrays are read whole."""


def tensors(batch: Batch, example: Inputs | None, field: str) -> tuple[Inputs, Tensor | None]:
    """A batch as tensors of the example's types: (inputs, targets or None).

    Without an example floats become float32 and whole numbers stay. Targets: class numbers become
    int64, others float32. Raises NetsukeError naming ``field`` and the
    input, with what was expected, where number, shape or kind of number differ.
    """
    targets = None if batch.targets is None else _target(batch.targets, field)
    if example is None:
        return tuple(_plain(array) for array in batch.inputs), targets
    if len(batch.inputs) != len(example):
        raise NetsukeError(
            f"{field}: {len(batch.inputs)} inputs a sample, but the model takes {len(example)}"
        )
    inputs = tuple(
        _input(array, like, f"{field}: input {i}")
        for i, (array, like) in enumerate(zip(batch.inputs, example, strict=True))
    )
    return inputs, targets


def batches(
    stream: Stream, size: int = 256, shuffle: int | None = None, example: Inputs | None = None
) -> Iterator[tuple[Inputs, Tensor | None]]:
    """A stream's batches as tensors; shuffled with the seed when one is given."""
    for batch in stream.batches(size, shuffle):
        yield tensors(batch, example, stream.field)


def check(model: Model, splits: Splits) -> None:
    """Try the model on every stream of a task, before any work is done.

    Raises NetsukeError, in one line naming the stream and the field, where values are NaN or
    infinite, the model refuses the input, or targets do not fit its outputs.
    """
    streams = (splits.train, splits.calibrate, splits.validate, splits.test)
    by_class = splits.loss is None and splits.metric.loss == "cross_entropy"
    for stream in streams:
        if stream is not None:
            _check_stream(model, stream, by_class)


def _check_stream(model: Model, stream: Stream, by_class: bool) -> None:
    width, seen = None, 0
    for batch in stream.batches():
        inputs, targets = tensors(batch, model.example, stream.field)
        for i, tensor in enumerate(inputs):
            _finite(tensor, f"{stream.field}: input {i}", seen)
        if width is None:
            width = _try(model, inputs, stream.field)
        if targets is not None and stream.labelled:
            _finite(targets, f"{stream.field}: targets", seen)
            if by_class:
                _in_range(targets, width, stream.field)
        seen += len(batch)
        if seen >= LOOKED_AT and not getattr(stream.source, "in_memory", False):
            break
    if seen == 0:
        raise NetsukeError(f"{stream.field}: there are no samples")


def _input(array: Array, like: Tensor, what: str) -> Tensor:
    kind = str(like.dtype).removeprefix("torch.")
    if array.shape[1:] != tuple(like.shape[1:]):
        raise NetsukeError(
            f"{what} has shape {tuple(array.shape[1:])} a sample, the model takes {tuple(like.shape[1:])}"
        )
    if array.dtype == object:
        raise NetsukeError(f"{what} holds objects, not numbers of one shape")
    if like.is_floating_point() and array.dtype.kind != "f":
        raise NetsukeError(
            f"{what} is {array.dtype}, the model takes {kind}: scale it first, as in x.astype('float32') / 255"
        )
    if not like.is_floating_point() and array.dtype.kind not in "iub":
        raise NetsukeError(f"{what} is {array.dtype}, the model takes whole numbers ({kind})")
    return torch.from_numpy(np.ascontiguousarray(array)).to(like.dtype)


def _plain(array: Array) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.float() if tensor.is_floating_point() else tensor


def _target(array: Array, field: str) -> Tensor:
    if array.dtype.kind not in "iubf":
        raise NetsukeError(f"{field}: targets are {array.dtype}, expected numbers")
    kind = torch.float32 if array.dtype.kind == "f" else torch.int64
    return torch.from_numpy(np.ascontiguousarray(array)).to(kind)


def _finite(tensor: Tensor, what: str, seen: int) -> None:
    if tensor.is_floating_point():
        bad = ~torch.isfinite(tensor.reshape(len(tensor), -1)).all(1)
        if bad.any():
            first = seen + int(bad.nonzero()[0])
            raise NetsukeError(f"{what} of sample {first} holds NaN or infinite values")


def _try(model: Model, inputs: Inputs, field: str) -> int | None:
    """Run the first batch; the number of classes the output can name, None where it has no such."""
    network = model.network
    mode = network.training
    try:
        with torch.no_grad():
            output = network.eval()(*(t[:2] for t in inputs))
    except (RuntimeError, IndexError) as error:
        given = ", ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in inputs)
        line = str(error).strip().splitlines()[0]
        raise NetsukeError(f"{field}: the model refuses inputs of {given}: {line}") from error
    finally:
        network.train(mode)
    if not isinstance(output, Tensor):
        return None
    return max(2, output.shape[1]) if output.ndim > 1 else 2


def _in_range(targets: Tensor, width: int | None, field: str) -> None:
    """Class numbers must be whole and below the number of outputs (two, where there is one logit)."""
    if width is None:
        return
    if targets.is_floating_point() and not bool((targets == targets.round()).all()):
        raise NetsukeError(
            f"{field}: targets must be class numbers, or give the task a loss of its own"
        )
    low, high = targets.min().item(), targets.max().item()
    if low < 0 or high >= width:
        raise NetsukeError(
            f"{field}: targets go from {low:g} to {high:g}, but the model's outputs are classes 0 … {width - 1}"
        )
