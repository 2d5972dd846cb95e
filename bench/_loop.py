"""One and the same training loop for every pruned network, ours or a rival's. Torch alone."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bench._data import augment


@dataclass(frozen=True)
class Loop:
    """SGD with Nesterov momentum, cosine to zero, cross-entropy; crop and flip."""

    epochs: int = 2
    rate: float = 0.02
    batch: int = 64
    momentum: float = 0.9
    decay: float = 5e-4


def train(
    net: nn.Module, x: np.ndarray, y: np.ndarray, seed: int, loop: Loop = Loop()
) -> nn.Module:
    """Train in place on float32 NCHW images and int64 classes; the network in evaluation mode."""
    torch.manual_seed(seed)
    images, classes = torch.from_numpy(x), torch.from_numpy(y)
    trained = [p for p in net.parameters() if p.requires_grad]
    sgd = torch.optim.SGD(trained, loop.rate, loop.momentum, weight_decay=loop.decay, nesterov=True)
    steps = loop.epochs * math.ceil(len(x) / loop.batch)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, steps)
    net.train()
    for _ in range(loop.epochs):
        for rows in torch.randperm(len(x)).split(loop.batch):
            sgd.zero_grad()
            nn.functional.cross_entropy(net(augment(images[rows])), classes[rows]).backward()
            sgd.step()
            cosine.step()
    return net.eval()


@torch.no_grad()
def right(net: nn.Module, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """For every image, whether its class was found."""
    images: Tensor = torch.from_numpy(x)
    found = [net(part).argmax(1) for part in images.split(250)]
    return np.asarray(torch.cat(found).numpy() == y)


def accuracy(net: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Share of right answers."""
    return float(right(net, x, y).mean())
