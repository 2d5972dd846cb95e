"""Sensors: several signals over time."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions over time and a shortcut."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(width, width, kernel, 1, kernel // 2, bias=False), nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, kernel, 1, kernel // 2, bias=False), nn.BatchNorm1d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class Convolutions(nn.Module):
    """Input (batch, signals, steps), output (batch, outputs): after Wang et al., 2017, "Time series
    classification from scratch".

    outputs: classes, or 1 for a value. width: channels; blocks: residual blocks of two convolutions.
    """

    def __init__(
        self, signals: int, outputs: int, width: int = 64, blocks: int = 3, kernel: int = 5
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(signals, width, kernel, 1, kernel // 2, bias=False), nn.BatchNorm1d(width),
            nn.ReLU(),
        )  # fmt: skip
        self.blocks = nn.Sequential(*(Residual(width, kernel) for _ in range(blocks)))
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(self.stem(x)).mean(2))
        return y


class Recurrent(nn.Module):
    """Input (batch, signals, steps), output (batch, outputs), of the last step: a GRU (Cho et al., 2014)
    behind a convolution that halves the steps."""

    def __init__(self, signals: int, outputs: int, width: int = 64, kernel: int = 5) -> None:
        super().__init__()
        self.stem = nn.Conv1d(signals, width, kernel, 2, kernel // 2)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        steps, _ = self.gru(torch.relu(self.stem(x)).transpose(1, 2))
        y: Tensor = self.head(steps[:, -1])
        return y
