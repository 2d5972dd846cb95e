"""Running a network over a stream: its metric, and BatchNorm statistics estimated anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.nn import functional as F

from netsuke.core.data import Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.metric import Metric
from netsuke.core.task import Splits
from netsuke.nets.data import batches
from netsuke.nets.graph import argument, clone, op, set_tensor


def evaluate(
    network: GraphModule, stream: Stream, metric: Metric, limit: int | None = None
) -> float:
    """The metric over a stream (its first ``limit`` samples), in eval mode. The mode is put back."""
    outputs: list[Any] = []
    targets: list[Tensor] = []
    with evaluating(network):
        for inputs, target in some_batches(stream, limit):
            if target is None:
                raise NetsukeError(f"{stream.field}: a metric needs targets")
            given = network(*inputs)
            outputs.append(given if isinstance(given, Tensor) else tuple(given))
            targets.append(target)
    return metric.score(_joined(outputs), torch.cat(targets).numpy())


def gap(network: GraphModule, data: Splits, limit: int = 500) -> float | None:
    """How much better it is on samples it may be trained on than on those to choose on, as a fraction of
    the metric's scale; None where these are no labelled samples of both, or the metric has no scale.

    limit: samples of each; 1,000 images are some seconds.
    """
    if data.train is None or not (data.train.labelled and data.validate.labelled):
        return None
    if data.metric.unit != "%":
        return None
    found = [
        evaluate(network, stream, data.metric, limit) for stream in (data.train, data.validate)
    ]
    return (found[0] - found[1]) * (1 if data.metric.higher else -1)


@contextmanager
def evaluating(network: GraphModule) -> Iterator[None]:
    """Eval mode without gradients, put back afterwards."""
    with in_eval_mode(network), torch.inference_mode():
        yield


@contextmanager
def in_eval_mode(network: GraphModule) -> Iterator[None]:
    """Eval mode, put back afterwards; gradients may be taken inside."""
    mode = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(mode)


def recalibrate(network: GraphModule, stream: Stream, samples: int = 1024) -> GraphModule:
    """A copy whose BatchNorm statistics are those of these samples.

    Each BatchNorm normalises by its own batch, as in training, while dropout is off; statistics are
    averaged over the batches (Wu and Johnson, 2021, "precise BatchNorm").
    """
    copy = clone(network)
    seen: dict[str, list[Tensor]] = {}
    with evaluating(copy):
        for inputs, _ in some_batches(stream, samples):
            if len(inputs[0]) > 1:
                runner = BatchStatistics(copy)
                runner.run(*inputs)
                for name, value in runner.seen.items():
                    seen.setdefault(name, []).append(value)
    with torch.no_grad():
        for name, values in seen.items():
            set_tensor(copy, name, torch.stack(values).mean(0).clone())
    return copy


class BatchStatistics(Interpreter):
    """Runs a network whose BatchNorms normalise by the batch at hand, all else as in eval mode.

    graph: another than the network's own, over its weights. seen: the batch's statistics, by the name of
    the running ones.
    """

    def __init__(self, network: GraphModule, graph: Graph | None = None) -> None:
        super().__init__(network, graph=graph)
        self.seen: dict[str, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        running = [argument(n, name) for name in ("running_mean", "running_var")]
        if op(n) != "batch_norm" or None in running:
            return super().run_node(n)
        x, weight, bias = (self._value(argument(n, name)) for name in ("input", "weight", "bias"))
        mean, var = (torch.zeros_like(self._value(r)) for r in running)
        out = F.batch_norm(x, mean, var, weight, bias, True, 1.0, argument(n, "eps"))
        self.seen |= {str(running[0].target): mean, str(running[1].target): var}
        return out

    def _value(self, argument: Any) -> Any:
        return self.env[argument] if isinstance(argument, Node) else argument


def some_batches(
    stream: Stream, limit: int | None
) -> Iterator[tuple[tuple[Tensor, ...], Tensor | None]]:
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
    return tuple(
        np.concatenate([o[i].float().numpy() for o in outputs]) for i in range(len(outputs[0]))
    )
