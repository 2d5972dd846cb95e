"""An ONNX file → a Model: the same graph of ATen operations that capture gives.

Whatever was converted is run beside onnxruntime before anyone uses it.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model, Step
from netsuke.nets.onnx_in.file import File, Input, open_file
from netsuke.nets.onnx_in.verify import verified


def from_onnx(path: Path | str, example: Sequence[Tensor] | None = None) -> Model:
    """Read an ONNX file (opset 9 or newer).

    Weights keep their names. The batch (dimension 0 of every input) becomes free, in files that
    fix it too; where the graph does not allow it, the batch stays fixed and the lineage says so.
    example: inputs that settle the other free dimensions (a sequence's length), samples first.

    Raises NetsukeError naming the file, and the node, for a damaged file, an operation that is not
    known, a free dimension without an example, and where outputs differ from onnxruntime's by more
    than 1e-4.
    """
    file = open_file(Path(path))
    name, samples = file.path.stem, _samples(file, example)
    try:
        if file.batch > 1:
            raise NetsukeError(f"a batch of {file.batch} is written down")
        network = verified(file, [tuple(t[:count] for t in samples) for count in (2, 3, 1)])
        return Model(network=network, example=tuple(t[:2] for t in samples), name=name)
    except NetsukeError:
        if file.batch == 0:
            raise
    inputs = tuple(t[: file.batch] for t in samples)
    network = verified(file, [inputs])
    note = f"the file fixes the batch to {file.batch}, and its graph does not allow another"
    steps = (Step(name="onnx", notes=(note,)),)
    return Model(network=network, example=inputs, name=name, lineage=steps)


def _samples(file: File, example: Sequence[Tensor] | None) -> tuple[Tensor, ...]:
    """Inputs to try: enough samples for every batch, of the example or at random."""
    count = max(3, file.batch)
    if example is None:
        generator = torch.Generator().manual_seed(0)
        return tuple(_random(file, given, count, generator) for given in file.inputs)
    if len(example) != len(file.inputs):
        raise NetsukeError(f"{file.path}: takes {len(file.inputs)} inputs, not {len(example)}")
    return tuple(torch.cat([t] * count)[:count].detach().clone() for t in example)


def _random(file: File, given: Input, count: int, generator: torch.Generator) -> Tensor:
    """Normal noise; for whole numbers 0 and 1, which every table and mask has."""
    if 0 in given.shape[1:]:
        place = given.shape.index(0, 1)
        raise NetsukeError(
            f"{file.path}: input {given.name!r} leaves its dimension {place} free; give an example"
        )
    shape = (count, *given.shape[1:])
    if given.dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(given.dtype)
    return torch.randint(0, 2, shape, generator=generator).to(given.dtype)
