"""A workload for tests: a small convolutional network that tells two textures apart."""

import numpy as np
import torch
from torch import nn

import netsuke


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.linear = nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return self.linear(x.mean((2, 3)))


def arrays(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal or vertical stripes under noise: (count×1×16×16, labels)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    stripes = np.sin(np.arange(16) * 1.5)
    x = np.where(y[:, None, None] == 0, stripes[None, :, None], stripes[None, None, :])
    x = x[:, None] + rng.normal(0, 0.5, (count, 1, 16, 16))
    return x.astype(np.float32), y


def task() -> netsuke.Task:
    return netsuke.Task(
        train=arrays(256, 0), validate=arrays(128, 1), test=arrays(400, 2), metric="accuracy"
    )


def model() -> nn.Module:
    torch.manual_seed(0)
    network = Tiny()
    x, y = (torch.from_numpy(a) for a in arrays(256, 0))
    optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9)
    for _ in range(15):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network.eval()
