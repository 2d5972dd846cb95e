"""Networks that concatenate: DenseNet, Inception, GhostNet, ShuffleNet."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.zoo._parts import Classifier, Entry, Made, active, conv, pictures


class Dense(nn.Module):
    """Each layer sees all before it; the norm comes first (Huang et al., 2017)."""

    def __init__(self, before: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(before + growth * i), nn.ReLU(),
                nn.Conv2d(before + growth * i, 4 * growth, 1, bias=False),
                nn.BatchNorm2d(4 * growth), nn.ReLU(),
                nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False),
            )
            for i in range(layers)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class Inception(nn.Module):
    """Four ways, side by side (Szegedy et al., 2015)."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.one = active(before, width, 1)
        self.three = nn.Sequential(active(before, width // 2, 1), active(width // 2, width))
        self.five = nn.Sequential(active(before, width // 2, 1), active(width // 2, width, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), active(before, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class Ghost(nn.Module):
    """Half of the channels by a convolution, half by a cheap one of these (Han et al., 2020)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.primary = active(before, after // 2, 1)
        self.cheap = nn.Sequential(conv(after // 2, after // 2, 3, 1, after // 2), nn.ReLU())
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        y = self.primary(x)
        return torch.cat([y, self.cheap(y)], 1)[:, : self.after]


class GhostBlock(nn.Module):
    """A ghost module out, one back, and a shortcut."""

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.body = nn.Sequential(Ghost(width, wide), Ghost(wide, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def shuffled(x: Tensor, groups: int) -> Tensor:
    """Channels of all groups in turn."""
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


class Grouped(nn.Module):
    """Grouped 1×1 convolutions with a shuffle between (Zhang et al., 2018)."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.first, self.depthwise = (
            conv(width, width, 1, 1, groups),
            conv(width, width, 3, 1, width),
        )
        self.second = conv(width, width, 1, 1, groups)

    def forward(self, x: Tensor) -> Tensor:
        y = shuffled(F.relu(self.first(x)), self.groups)
        return F.relu(x + self.second(self.depthwise(y)))


class Halves(nn.Module):
    """Half of the channels pass by, then all are shuffled (Ma et al., 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.body = nn.Sequential(
            active(half, half, 1), conv(half, half, 3, 1, half), active(half, half, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1)
        return shuffled(torch.cat([left, self.body(right)], 1), 2)


def _densenet() -> Made:
    between = nn.Sequential(nn.BatchNorm2d(40), nn.ReLU(), nn.Conv2d(40, 20, 1), nn.AvgPool2d(2))
    body = (nn.Conv2d(3, 16, 3, 2, 1), Dense(16, 8, 3), between, Dense(20, 8, 3))
    return Classifier(44, *body, nn.BatchNorm2d(44), nn.ReLU()), (pictures(),)


def _inception() -> Made:
    body = (active(3, 16, 3, 2), Inception(16, 16), nn.MaxPool2d(2), Inception(64, 24))
    return Classifier(96, *body), (pictures(),)


def _ghostnet() -> Made:
    body = (active(3, 16, 3, 2), GhostBlock(16, 48), Ghost(16, 32), GhostBlock(32, 96))
    return Classifier(32, *body), (pictures(),)


def _shufflenet_v1() -> Made:
    body = (active(3, 48, 3, 2), Grouped(48, 3), Grouped(48, 3), active(48, 64, 1))
    return Classifier(64, *body), (pictures(),)


def _shufflenet_v2() -> Made:
    body = (active(3, 48, 3, 2), Halves(48), Halves(48), active(48, 64, 1))
    return Classifier(64, *body), (pictures(),)


ENTRIES = (
    Entry("DenseNet", _densenet),
    Entry("Inception", _inception),
    Entry("GhostNet", _ghostnet),
    Entry("ShuffleNet V1", _shufflenet_v1),
    Entry("ShuffleNet V2", _shufflenet_v2),
)
