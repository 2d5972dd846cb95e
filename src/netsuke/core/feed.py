"""What is put into an artifact: a batch in its own types, or made-up values of its shapes."""

import numpy as np

from netsuke.core.artifact import Artifact
from netsuke.core.data import Array, Batch
from netsuke.core.errors import NetsukeError


def feed(batch: Batch, artifact: Artifact, field: str) -> tuple[Array, ...]:
    """The batch's inputs in the types of the artifact's, in its order.

    Raises NetsukeError naming ``field`` and the input where number, shape or kind of number differ,
    or where a value is NaN. A dimension the artifact leaves open takes any size.
    """
    if len(batch.inputs) != len(artifact.inputs):
        raise NetsukeError(
            f"{field}: {len(batch.inputs)} inputs a sample, {artifact.path.name} takes {len(artifact.inputs)}"
        )
    pairs = zip(batch.inputs, artifact.inputs, strict=True)
    return tuple(_fit(array, spec, f"{field}: input {i}") for i, (array, spec) in enumerate(pairs))


def example(artifact: Artifact, samples: int = 1, seed: int = 0) -> tuple[Array, ...]:
    """Made-up inputs: normal values for floats, ones for whole numbers (a token, an open mask)."""
    rng = np.random.default_rng(seed)
    return tuple(
        rng.standard_normal(one.shape).astype(one.dtype) if one.dtype.kind == "f" else one
        for one in ones(artifact, samples)
    )


def ones(artifact: Artifact, samples: int = 1) -> tuple[Array, ...]:
    """Inputs of the right shapes and types, without loading numpy's generators (7 MB) as ``example`` does."""
    made = []
    for name, dtype, shape in artifact.inputs:
        size = (samples, *(d if d > 0 else 1 for d in shape))
        made.append(np.ones(size, _dtype(dtype, f"{artifact.path.name}: input {name}")))
    return tuple(made)


def _fit(array: Array, spec: tuple[str, str, tuple[int, ...]], what: str) -> Array:
    name, dtype, shape = spec
    kind = _dtype(dtype, what)
    given = array.shape[1:]
    if len(given) != len(shape) or any(d > 0 and d != g for d, g in zip(shape, given, strict=True)):
        raise NetsukeError(f"{what} has shape {given} a sample, {name!r} takes {shape}")
    if array.dtype.kind not in ("f" if kind.kind == "f" else "iub"):
        raise NetsukeError(f"{what} is {array.dtype}, {name!r} takes {kind}: convert it first")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise NetsukeError(f"{what} holds NaN")
    return np.ascontiguousarray(array, kind)


def _dtype(name: str, what: str) -> np.dtype[np.generic]:
    try:
        return np.dtype(name)
    except TypeError:
        raise NetsukeError(f"{what}: {name!r} is no type of array that can be fed") from None
