"""Handwritten digits: a small residual network on scikit-learn's digits, upscaled to 32 × 32.

The network is trained when this file is first used (half a minute) and kept in ``.cache/``.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import netsuke

KEPT = Path(__file__).parent / ".cache" / "digits.safetensors"


class Block(nn.Module):
    """Two convolutions around a shortcut; a 1 × 1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Digits(nn.Module):
    """A stem, three residual blocks of 16, 32 and 64 channels, a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.classify = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn(self.stem(x))))
        return self.classify(x.mean((2, 3)))


def arrays() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The 1,797 digits as (images N×1×32×32 in 0…1, labels), split with a fixed seed."""
    digits = load_digits()
    small = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    images = F.interpolate(small, size=32, mode="bilinear", align_corners=False).numpy()
    order = np.random.default_rng(0).permutation(len(images))
    parts = {"train": order[:897], "validate": order[897:1197], "test": order[1197:]}
    return {name: (images[rows], digits.target[rows]) for name, rows in parts.items()}


def task() -> netsuke.Task:
    """Classify the digits; 897 to train on, 300 to choose by, 600 for the final evidence."""
    return netsuke.Task(**arrays(), metric="accuracy")


def model() -> nn.Module:
    """The trained network."""
    network = Digits()
    if not KEPT.exists():
        KEPT.parent.mkdir(exist_ok=True)
        save_file(train(network, *arrays()["train"]).state_dict(), KEPT)
    network.load_state_dict(load_file(KEPT))
    return network.eval()


def train(network: nn.Module, x: np.ndarray, y: np.ndarray, epochs: int = 20) -> nn.Module:
    """Plain training: SGD, one learning-rate cycle, shifts by up to two pixels."""
    print(f"  training the example network once, {epochs} epochs", file=sys.stderr)
    torch.manual_seed(0)
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * (len(images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64)[: steps // epochs]:
            dy, dx = torch.randint(-2, 3, (2,)).tolist()
            batch = torch.roll(images[rows], (dy, dx), (2, 3))
            optimizer.zero_grad()
            F.cross_entropy(network(batch), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()
