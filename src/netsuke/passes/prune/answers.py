"""Gradients of losses against targets drawn from the model's own predictions, for criteria that follow slopes.

Targets are drawn rather than read from labels (the Fisher information; Theis et al., 2018): a trained
network is so sure of its labels that their gradients tell little, and no labels are needed.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.nn import functional as F

from netsuke.core.goal import Goal
from netsuke.core.metric import Metric
from netsuke.nets.data import batches

BATCH, BATCHES = 32, 20
TEMPERATURE = 4.0


def gradients(network: GraphModule, goal: Goal) -> Iterator[None]:
    """Puts a loss's gradients into the network, then yields: once a batch of calibration data,
    ``BATCHES`` times, the data read again where it is short."""
    draw = torch.Generator().manual_seed(goal.seed)
    done = 0
    while done < BATCHES:
        for inputs, _ in batches(goal.data.calibrate, BATCH, goal.seed + done):
            output = network(*inputs)
            first = output if isinstance(output, Tensor) else output[0]
            network.zero_grad(set_to_none=True)
            _surprise(first, goal.data.metric, draw).backward()
            yield
            done += 1
            if done == BATCHES:
                return


def _surprise(output: Tensor, metric: Metric, draw: torch.Generator) -> Tensor:
    if metric.unit != "%":
        noise = torch.randn(output.shape, generator=draw) * output.detach().std()
        return F.mse_loss(output, output.detach() + noise)
    if output.ndim < 2 or output.shape[1] == 1:
        odds = output / TEMPERATURE
        drawn = torch.bernoulli(torch.sigmoid(odds.detach()), generator=draw)
        return F.binary_cross_entropy_with_logits(odds, drawn)
    logits = (output / TEMPERATURE).movedim(1, -1).flatten(0, -2)
    drawn = torch.multinomial(logits.detach().softmax(1), 1, generator=draw)[:, 0]
    return F.cross_entropy(logits, drawn)
