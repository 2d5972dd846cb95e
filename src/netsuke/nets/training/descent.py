"""How weights go down the gradient: the optimizer, and its rate over the training."""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.fx import GraphModule

from netsuke.nets.training.plan import TrainPlan

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises: pruned networks start with large gradients."""


def optimizer(
    network: GraphModule, plan: TrainPlan, beside: Sequence[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """Biases and scales are not decayed. beside: what is trained along, and thrown away."""
    weights = [*(p for p in network.parameters() if p.requires_grad), *beside]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kept = [g for g in groups if g["params"]]
    if plan.optimizer == "adamw":
        return torch.optim.AdamW(kept, lr=plan.lr)
    return torch.optim.SGD(kept, lr=plan.lr, momentum=0.9, nesterov=True)


def share(progress: float) -> float:
    """Share of the highest learning rate at this share of the training."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARM_UP) / (1 - WARM_UP))))
