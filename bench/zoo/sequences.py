"""Networks over time, and networks with several inputs or outputs."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.zoo._parts import CLASSES, Entry, Made, active, pictures


class Temporal(nn.Module):
    """1-D convolutions with growing dilation and residuals (Bai et al., 2018). 8 channels, 64 steps."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.start = nn.Conv1d(8, width, 1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, 2 * width, 3, padding=2**i, dilation=2**i), nn.BatchNorm1d(2 * width),
                nn.LeakyReLU(0.1), nn.Conv1d(2 * width, width, 1),
            )
            for i in range(3)
        )  # fmt: skip
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.start(x)
        for layer in self.layers:
            y = F.relu(y + layer(y))
        return self.head(F.max_pool1d(y, 4).mean(2))


class Recurrent(nn.Module):
    """A linear layer, recurrent layers, a linear layer of the last step. 12 numbers, 10 steps."""

    def __init__(self, kind: type[nn.RNNBase], two_ways: bool) -> None:
        super().__init__()
        width = 24
        self.start = nn.Linear(12, 32)
        self.recurrent = kind(32, width, num_layers=2, batch_first=True, bidirectional=two_ways)
        wide = 2 * width if two_ways else width
        self.middle, self.head = nn.Linear(wide, 32), nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.recurrent(F.relu(self.start(x)))
        return self.head(F.relu(self.middle(states[:, -1])))


class TwoInputs(nn.Module):
    """A picture and a row of numbers, which also scales the picture's channels (Perez et al., 2018)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.picture = nn.Sequential(active(3, width, 3, 2), active(width, width, 3, 2))
        self.numbers = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 2 * width))
        self.end = nn.Sequential(nn.Linear(3 * width, 48), nn.ReLU(), nn.Linear(48, CLASSES))

    def forward(self, picture: Tensor, numbers: Tensor) -> Tensor:
        told = self.numbers(numbers)
        scale, shift = told.chunk(2, 1)
        seen = self.picture(picture) * scale[:, :, None, None] + shift[:, :, None, None]
        return self.end(torch.cat([seen.mean((2, 3)), told], 1))


class ManyOutputs(nn.Module):
    """One trunk, three heads: a class, a picture, and features that are an output themselves."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.trunk = nn.Sequential(active(3, width, 3, 2), active(width, 2 * width))
        self.classes = nn.Sequential(nn.Linear(2 * width, 48), nn.ReLU(), nn.Linear(48, CLASSES))
        self.depth = nn.Sequential(active(2 * width, width), nn.Conv2d(width, 1, 1))
        self.features = nn.Linear(2 * width, 16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = self.trunk(x)
        pooled = y.mean((2, 3))
        return self.classes(pooled), self.depth(y), F.normalize(self.features(pooled), dim=1)


def _two_inputs() -> Made:
    return TwoInputs(), (pictures(), torch.randn(2, 6))


ENTRIES = (
    Entry("1-D convolutions", lambda: (Temporal(), (torch.randn(2, 8, 64),))),
    Entry("LSTM, two layers", lambda: (Recurrent(nn.LSTM, False), (torch.randn(2, 10, 12),))),
    Entry("GRU, both ways", lambda: (Recurrent(nn.GRU, True), (torch.randn(2, 10, 12),))),
    Entry("Two inputs, FiLM", _two_inputs),
    Entry("Three outputs", lambda: (ManyOutputs(), (pictures(),))),
)
