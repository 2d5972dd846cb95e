"""What a user hands over, made ready for the walk: a Model, a Goal."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netsuke.core.budget import Budget
from netsuke.core.data import Batch
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.observer import Observer
from netsuke.core.task import Splits, Task, ready
from netsuke.devices import device as find_device
from netsuke.links import reachable

if TYPE_CHECKING:
    from torch import nn


def take_goal(
    task: Task, device: str | Device, budget: Budget, seed: int, observer: Observer
) -> Goal:
    """Task, device and budget as a Goal, with the splits made.

    Raises NetsukeError for data that cannot be read, or an unknown device.
    """
    where = reachable(device if isinstance(device, Device) else find_device(device))
    return Goal(
        data=ready(task, seed), device=where, budget=budget, seed=seed, track=observer.track
    )


def take_model(given: "nn.Module | Model | str | Path", splits: Splits | None, name: str) -> Model:
    """A module, a captured model or an ``.onnx`` file as a Model that has been tried on the data.

    Raises NetsukeError where it does not trace, does not load, or refuses the data.
    """
    from netsuke.nets.data import check
    from netsuke.nets.given import captured

    if isinstance(given, Model):
        return given
    if not isinstance(given, str | Path) and splits is None:
        raise NetsukeError("a module needs data beside it: its first batch shows the input")
    model = captured(given, () if splits is None else example_of(splits), name)
    if splits is not None:
        check(model, splits)
    return model


def example_of(splits: Splits) -> tuple[Any, ...]:
    """Two samples of the validation data as torch tensors, one tensor per input; floats as float32."""
    from netsuke.nets.data import tensors

    batch = next(splits.validate.batches(size=2))
    if any(a.dtype == object for a in batch.inputs):
        raise NetsukeError(f"{splits.validate.field}: inputs are objects, not numbers of one shape")
    pairs = tuple(a[:2] if len(a) > 1 else np.repeat(a[:1], 2, axis=0) for a in batch.inputs)
    return tensors(Batch(pairs, None), None, splits.validate.field)[0]


def weights(module: "nn.Module", path: str | Path) -> "nn.Module":
    """``module`` with its state read from a safetensors file, names and shapes matching exactly.

    Raises NetsukeError naming the file and the tensor that does not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise NetsukeError(f"{path}: not a readable safetensors file ({error})") from error
    own = module.state_dict()
    # A batch counter is no weight, and many files leave it out.
    expected = {k for k in own if not k.endswith("num_batches_tracked")}
    if wrong := sorted(expected - set(state)) or sorted(set(state) - set(own)):
        raise NetsukeError(f"{path}: {wrong[0]!r} is only in one of the file and the module")
    for key, tensor in state.items():
        if tensor.shape != own[key].shape:
            raise NetsukeError(
                f"{path}: {key!r} is {tuple(tensor.shape)}, the module wants {tuple(own[key].shape)}"
            )
    module.load_state_dict(state, strict=False)
    return module.eval()
