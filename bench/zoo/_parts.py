"""What several families share: an entry of the zoo, a convolution with its norm, a small classifier."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SIDE, CLASSES = 32, 10
Made = tuple[nn.Module, tuple[Tensor, ...]]


@dataclass(frozen=True)
class Entry:
    """One architecture. make: the network with random weights, and two samples of each input."""

    name: str
    make: Callable[[], Made]

    def build(self) -> Made:
        """The network in eval mode, the same each time, with statistics as after training."""
        torch.manual_seed(0)
        module, inputs = self.make()
        return lively(module), inputs


def pictures(channels: int = 3, side: int = SIDE) -> Tensor:
    """Two samples."""
    return torch.randn(2, channels, side, side)


def conv(
    before: int, after: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution that keeps the size (but for its stride), and BatchNorm."""
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(after))


def active(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution, BatchNorm, ReLU."""
    return nn.Sequential(*conv(before, after, kernel, stride), nn.ReLU(inplace=True))


class Classifier(nn.Module):
    """A body of layers, the mean over the picture, a linear layer."""

    def __init__(self, width: int, *body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(*body), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


def lively(module: nn.Module) -> nn.Module:
    """Weights large enough that each layer counts, and norms with scales, shifts and statistics of
    their own, so that mistakes with them show."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_uniform_(parameter)
    for part in module.modules():
        if isinstance(getattr(part, "running_mean", None), Tensor):
            nn.init.uniform_(part.running_mean, -0.3, 0.3)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
        if "Norm" in type(part).__name__:
            for name, parameter in part.named_parameters(recurse=False):
                low, high = (0.5, 1.5) if name == "weight" else (-0.3, 0.3)
                nn.init.uniform_(parameter, low, high)
    return module.eval()
