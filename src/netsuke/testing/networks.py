"""A network to try passes on. Imports torch."""

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Convolution, residual block with BatchNorm, mean, linear; 1×8×8 images in, logits out."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.last = nn.Linear(width * 4, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        y = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(x + self.bn2(self.conv2(y)))
        logits: Tensor = self.last(nn.functional.avg_pool2d(x, 4).flatten(1))
        return logits


class Pooled(nn.Module):
    """Wide kernels with a residual add, the mean over what is left of the picture, linear."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 5, padding=2)
        self.deep = nn.Conv2d(width, width, 5, padding=2, groups=width, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.wide = nn.Conv2d(width, 4 * width, 3, stride=2, padding=1)
        self.last = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(x + self.bn(self.deep(x)))
        x = torch.relu(self.wide(x))
        logits: Tensor = self.last(nn.functional.avg_pool2d(x, 4).flatten(1))
        return logits


class Rows(nn.Module):
    """One channel of 8×8 pixels read as 8 rows, each normalised and passed through linear layers."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.up = nn.Linear(8, width)
        self.down = nn.Linear(width, 8)
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.squeeze(1)
        rows = rows + self.down(torch.relu(self.up(self.norm(rows))))
        out: Tensor = self.head(rows.flatten(1))
        return out
