"""Sound: spectra over time."""

import torch
from torch import Tensor, nn


class Separable(nn.Module):
    """A convolution within each channel, one across them, and a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False), nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class DSCNN(nn.Module):
    """Input (batch, 1, frames, bands), such as a log-mel spectrogram; output (batch, classes): after Zhang et
    al., 2017, "Hello edge: keyword spotting on microcontrollers", with shortcuts, so that depth can be chosen.

    width: channels. blocks: separable convolutions. kernel, stride: of the first convolution.
    """

    def __init__(
        self,
        classes: int,
        width: int = 64,
        blocks: int = 4,
        kernel: tuple[int, int] = (10, 4),
        stride: tuple[int, int] = (2, 2),
    ) -> None:
        super().__init__()
        pad = (kernel[0] // 2, kernel[1] // 2)
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, kernel, stride, pad, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(Separable(width) for _ in range(blocks)))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return y
