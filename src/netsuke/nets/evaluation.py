"""Running a network over a stream: its metric, and BatchNorm statistics estimated anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional as F

from netsuke.core.data import Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.metric import Metric
from netsuke.nets.data import batches
from netsuke.nets.graph import argument, clone, op, set_tensor, tensor_of


def evaluate(network: GraphModule, stream: Stream, metric: Metric, limit: int | None = None) -> float:
    """The metric over a stream (its first ``limit`` samples), in eval mode. The mode is put back."""
    outputs: list[Any] = []
    targets: list[Tensor] = []
    with evaluating(network):
        for inputs, target in _some(stream, limit):
            if target is None:
                raise NetsukeError(f"{stream.field}: a metric needs targets")
            given = network(*inputs)
            outputs.append(given if isinstance(given, Tensor) else tuple(given))
            targets.append(target)
    return metric.score(_joined(outputs), torch.cat(targets).numpy())


@contextmanager
def evaluating(network: GraphModule) -> Iterator[None]:
    """Eval mode without gradients, put back afterwards."""
    mode = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(mode)


def recalibrate(network: GraphModule, stream: Stream, samples: int = 1024) -> GraphModule:
    """A copy whose BatchNorm statistics are those of these samples.

    Each BatchNorm normalises by its own batch, as in training, while dropout is off; statistics are
    averaged over the batches (Wu and Johnson, 2021, "precise BatchNorm").
    """
    copy = clone(network)
    estimator = _Estimator(copy)
    with evaluating(copy):
        for inputs, _ in _some(stream, samples):
            if len(inputs[0]) > 1:
                estimator.run(*inputs)
    with torch.no_grad():
        for name, seen in estimator.seen.items():
            set_tensor(copy, name, torch.stack(seen).mean(0).clone())
    return copy


class _Estimator(Interpreter):
    """Runs a network with batch statistics and keeps them, by the name of the running ones."""

    def __init__(self, network: GraphModule) -> None:
        super().__init__(network)
        self.seen: dict[str, list[Tensor]] = {}

    def run_node(self, n: Node) -> Any:
        mean, var = (argument(n, name) for name in ("running_mean", "running_var"))
        if op(n) != "batch_norm" or mean is None:
            return super().run_node(n)
        bound = {name: self._value(argument(n, name)) for name in ("input", "weight", "bias")}
        x: Tensor = bound["input"]
        own_mean = torch.zeros_like(self._value(mean))
        own_var = torch.zeros_like(own_mean)
        out = F.batch_norm(x, own_mean, own_var, bound["weight"], bound["bias"], True, 1.0, argument(n, "eps"))
        self.seen.setdefault(str(mean.target), []).append(own_mean)
        self.seen.setdefault(str(var.target), []).append(own_var)
        return out

    def _value(self, argument: Any) -> Any:
        return self.env[argument] if isinstance(argument, Node) else argument


def _some(stream: Stream, limit: int | None) -> Iterator[tuple[tuple[Tensor, ...], Tensor | None]]:
    """The stream's batches, cut off after ``limit`` samples."""
    left = limit
    for inputs, target in batches(stream):
        if left is not None:
            inputs = tuple(t[:left] for t in inputs)
            target = None if target is None else target[:left]
            left -= len(inputs[0])
        yield inputs, target
        if left is not None and left <= 0:
            return


def _joined(outputs: list[Any]) -> Any:
    """Outputs of all batches as arrays; several outputs as a tuple of arrays."""
    if isinstance(outputs[0], Tensor):
        return np.concatenate([o.float().numpy() for o in outputs])
    return tuple(np.concatenate([o[i].float().numpy() for o in outputs]) for i in range(len(outputs[0])))
