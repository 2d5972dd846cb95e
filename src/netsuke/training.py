"""Quantization-aware training in the user's own loop: ``prepare``, train, ``convert``."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.observer import Observer
from netsuke.core.task import Task
from netsuke.intake import take_goal, take_model
from netsuke.nets.capture import capture
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.edges import with_edges
from netsuke.nets.quantizers.place import Plan, place
from netsuke.nets.quantizers.qat import deployed, freeze, trainable
from netsuke.nets.samples import BATCH, Calibration
from netsuke.nets.sparse.zeros import Zeros

SAMPLES = 500


class Prepared(nn.Module):
    """A network that simulates low precision and learns its step sizes; trains like any module."""

    def __init__(self, network: nn.Module, placed: Model) -> None:
        super().__init__()
        self.network = network
        self._placed = placed

    def forward(self, *inputs: Tensor) -> Any:
        """As the original: the same inputs, the same outputs."""
        return self.network(*inputs)

    def freeze(self) -> None:
        """Learn no step size any more; steadies the last epochs."""
        freeze(self.network)


def prepare(
    model: Any,
    data: Task | Tensor | Sequence[Tensor],
    *,
    weights: int = 8,
    activations: int = 8,
    edge: int = 8,
) -> Prepared:
    """A copy of a trained model for quantization-aware training in a loop of your own.

    model: an ``nn.Module``, an ``.onnx`` path or a Model. data: a Task, whose calibration samples the
    first step sizes are found on, or some hundred samples themselves: a tensor an input, samples
    first. weights, activations: bits, 2 to 8; edge: those of the first and the last layers and of
    what they read. Steps are learned as in LSQ (Esser et al., 2020). Weights that are exactly zero stay so.

    Raises NetsukeError where the model does not trace, or the data is missing or broken.
    """
    taken, samples = _taken(model, data)
    plan = with_edges(taken.network, Plan.of(weights, activations), Plan.of(edge, edge))
    placed = place(taken.network, taken.example, plan)
    calibrate(placed, samples)
    step = Step(
        name="prepare",
        settings={"weights": weights, "activations": activations, "edge": edge},
        summary=f"W{weights}A{activations}, trained by hand",
    )
    network = trainable(placed, taken.network, taken.example).train()
    Zeros.of(network).guard(network)
    return Prepared(network, taken.then(placed, step))


def convert(prepared: Prepared) -> Model:
    """What a prepared model has become, ready for ``fit``, ``inspect`` or a runtime's export.

    Its integers are those it was trained with. Raises NetsukeError for what ``prepare`` did not make.
    """
    if not isinstance(prepared, Prepared):
        raise NetsukeError(f"convert: a {type(prepared).__name__} was not made by netsuke.prepare")
    placed = prepared._placed
    network = deployed(prepared.network, placed.network)  # type: ignore[arg-type]
    return Model(network=network, example=placed.example, name=placed.name, lineage=placed.lineage)


def _taken(
    model: Any, data: Task | Tensor | Sequence[Tensor]
) -> tuple[Model, Iterable[tuple[Tensor, ...]]]:
    """The model, and batches of inputs to calibrate it on."""
    if isinstance(data, Task):
        goal: Goal = take_goal(data, "local", Budget(), 0, Observer())
        taken = take_model(model, goal.data, "model")
        return taken, Calibration(taken, goal, SAMPLES)
    inputs = (data,) if isinstance(data, Tensor) else tuple(data)
    if isinstance(model, nn.Module):
        taken = capture(model, inputs)
    else:
        taken = take_model(model, None, "model")
    return taken, list(zip(*(torch.split(x, BATCH) for x in inputs), strict=True))
