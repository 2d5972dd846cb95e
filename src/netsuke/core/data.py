"""Data streams: arrays, tensors, datasets and loaders seen as one thing. Numpy only, no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsuke.core.errors import NetsukeError

Array = NDArray[Any]
TARGET_NAMES = ("label", "labels", "target", "targets", "y")


class Batch(NamedTuple):
    """inputs: one array per input of the model, samples first. targets: None where unlabelled."""

    inputs: tuple[Array, ...]
    targets: Array | None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def samples(self) -> Iterator["Batch"]:
        """Each sample as a batch of its own."""
        for i in range(len(self)):
            row = slice(i, i + 1)
            targets = None if self.targets is None else self.targets[row]
            yield Batch(tuple(a[row] for a in self.inputs), targets)


class Table:
    """Samples that can be read by index: arrays, or a map-style dataset."""

    def __init__(self, source: Any, field: str, labelled: bool) -> None:
        self._field, self._labelled = field, labelled
        self._arrays = _as_arrays(source, field, labelled)
        self._dataset = source if self._arrays is None else None
        if self._dataset is not None and not hasattr(self._dataset, "__getitem__"):
            raise NetsukeError(
                f"{field}: {type(source).__name__} is neither arrays, a dataset nor a loader"
            )

    @property
    def in_memory(self) -> bool:
        """Whether the samples are arrays, so that reading all of them costs little."""
        return self._arrays is not None

    def __len__(self) -> int:
        return len(self._arrays[0][0]) if self._arrays is not None else len(self._dataset)  # type: ignore[arg-type]

    def take(self, indices: Array) -> Batch:
        """The samples at these indices, stacked."""
        if self._arrays is not None:
            inputs, targets = self._arrays
            return Batch(
                tuple(a[indices] for a in inputs), None if targets is None else targets[indices]
            )
        rows = [self._dataset[int(i)] for i in indices]  # type: ignore[index]
        return as_batch(_collate(rows, self._field), self._field, self._labelled)


@dataclass(frozen=True)
class Stream:
    """A finite stream of samples; iterate it as often as you like.

    source: a Table, or an iterable of batches (a loader). indices: which rows of a table.
    """

    source: Any
    field: str
    labelled: bool = True
    indices: Array | None = None

    def __len__(self) -> int:
        """Number of samples. Raises NetsukeError for a loader that does not know its length."""
        if self.indices is not None:
            return len(self.indices)
        if isinstance(self.source, Table):
            return len(self.source)
        if hasattr(self.source, "dataset") and hasattr(self.source.dataset, "__len__"):
            return len(self.source.dataset)
        return sum(len(batch) for batch in self.batches())

    def batches(self, size: int = 256, shuffle: int | None = None) -> Iterator[Batch]:
        """Batches of at most ``size`` (a loader keeps its own), shuffled with the seed if given."""
        if not isinstance(self.source, Table):
            yield from (as_batch(raw, self.field, self.labelled) for raw in self.source)
            return
        order = np.arange(len(self.source)) if self.indices is None else self.indices
        if shuffle is not None:
            order = np.random.default_rng(shuffle).permutation(order)
        for start in range(0, len(order), size):
            yield self.source.take(order[start : start + size])

    def split(self, share: float, seed: int) -> tuple["Stream", "Stream"]:
        """(rest, held out): ``share`` of the samples held out, the same for the same seed."""
        table = self._as_table()
        order = np.random.default_rng(seed).permutation(len(self))
        held = max(1, round(share * len(self)))
        rows = np.arange(len(table)) if self.indices is None else self.indices
        return (
            Stream(table, self.field, self.labelled, np.sort(rows[order[held:]])),
            Stream(table, self.field, self.labelled, np.sort(rows[order[:held]])),
        )

    def head(self, count: int, seed: int = 0) -> "Stream":
        """``count`` samples drawn without replacement (all of them when there are fewer)."""
        if len(self) <= count:
            return self
        return self.split(count / len(self), seed)[1]

    def _as_table(self) -> Table:
        if isinstance(self.source, Table):
            return self.source
        if hasattr(self.source, "dataset") and hasattr(self.source.dataset, "__getitem__"):
            return Table(self.source.dataset, self.field, self.labelled)
        raise NetsukeError(
            f"{self.field}: this loader cannot be split; give validate and test apart"
        )


def stream(source: Any, field: str, labelled: bool = True) -> Stream | None:
    """Any accepted form as a Stream: (x, y) arrays or tensors, a dataset, a loader, or None.

    Raises NetsukeError naming ``field`` where lengths differ, nothing is there, or the form is
    unknown. ``labelled=False`` (calibration) accepts inputs alone.
    """
    if source is None or isinstance(source, Stream):
        return source
    if _is_loader(source):
        return Stream(source, field, labelled)
    table = Table(source, field, labelled)
    if len(table) == 0:
        raise NetsukeError(f"{field}: there are no samples")
    return Stream(table, field, labelled)


def as_batch(raw: Any, field: str, labelled: bool) -> Batch:
    """A loader's batch (tuple, mapping or array) as a Batch."""
    if isinstance(raw, Batch):
        return raw
    if isinstance(raw, Mapping):
        target = next((k for k in TARGET_NAMES if k in raw), None)
        if target is None and labelled:
            raise NetsukeError(
                f"{field}: no target among {sorted(raw)}; name it one of {TARGET_NAMES}"
            )
        fields = tuple(to_array(v) for k, v in raw.items() if k != target)
        return Batch(fields, None if target is None else to_array(raw[target]))
    if isinstance(raw, tuple | list) and len(raw) > 1:
        *inputs, target = raw
        if len(inputs) == 1 and isinstance(inputs[0], tuple | list):
            inputs = list(inputs[0])
        return Batch(tuple(to_array(a) for a in inputs), to_array(target))
    if labelled:
        raise NetsukeError(f"{field}: expected (inputs, targets), got {type(raw).__name__}")
    only = raw[0] if isinstance(raw, tuple | list) else raw
    return Batch((to_array(only),), None)


def to_array(value: Any) -> Array:
    """A tensor, array, list or image as a numpy array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)


def _is_loader(source: Any) -> bool:
    """A loader yields batches and cannot be indexed."""
    return hasattr(source, "__iter__") and not hasattr(source, "__getitem__")


def _as_arrays(
    source: Any, field: str, labelled: bool
) -> tuple[tuple[Array, ...], Array | None] | None:
    """((inputs…), targets) where the source is arrays, else None. A list holds samples, a tuple inputs."""
    if not labelled and isinstance(source, list) and _is_arrays(source):
        source = _stack(source, field)
    if _is_array(source) or (not labelled and _is_arrays(source)):
        inputs = source if isinstance(source, tuple | list) else (source,)
        if labelled:
            raise NetsukeError(f"{field}: expected (inputs, targets), got one array")
        return _checked(tuple(to_array(a) for a in inputs), None, field)
    if isinstance(source, tuple | list) and len(source) == 2 and hasattr(source[1], "__len__"):
        x, y = source
        if isinstance(source, tuple) and isinstance(x, list) and len(x) == len(y):
            x = _stack(x, field)
        if _is_array(x) or _is_arrays(x):
            inputs = x if isinstance(x, tuple | list) else (x,)
            return _checked(tuple(to_array(a) for a in inputs), to_array(y), field)
    return None


def _stack(samples: Sequence[Any], field: str) -> Array:
    if not samples:
        raise NetsukeError(f"{field}: there are no samples")
    try:
        return np.stack([to_array(s) for s in samples])
    except ValueError:
        raise NetsukeError(
            f"{field}: the samples differ in shape; make them of one shape"
        ) from None


def _is_array(value: Any) -> bool:
    """An array or a tensor; a Hugging Face data set has a shape too, but no dtype."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _is_arrays(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) > 0 and all(map(_is_array, value))


def _checked(
    inputs: tuple[Array, ...], targets: Array | None, field: str
) -> tuple[tuple[Array, ...], Array | None]:
    lengths = {len(a) for a in inputs} | ({len(targets)} if targets is not None else set())
    if len(lengths) > 1:
        raise NetsukeError(f"{field}: inputs and targets differ in length: {sorted(lengths)}")
    return inputs, targets


def _collate(rows: Sequence[Any], field: str) -> Any:
    """Rows of a dataset stacked into one raw batch."""
    if not rows:
        raise NetsukeError(f"{field}: there are no samples")
    first = rows[0]
    if isinstance(first, Mapping):
        return {k: np.stack([to_array(r[k]) for r in rows]) for k in first}
    if isinstance(first, tuple | list):
        return tuple(np.stack([to_array(r[i]) for r in rows]) for i in range(len(first)))
    return np.stack([to_array(r) for r in rows])
