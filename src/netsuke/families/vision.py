"""Pictures: inverted residuals."""

from collections.abc import Sequence

from torch import Tensor, nn

STAGES = ((24, 2, 2), (48, 3, 2), (96, 3, 2), (160, 2, 1))
"""Channels, blocks, and the stride of the first block."""


class Inverted(nn.Module):
    """Expand, convolve each channel, project; a shortcut where nothing changes size."""

    def __init__(self, inside: int, out: int, stride: int, kernel: int, expand: int) -> None:
        super().__init__()
        wide = expand * inside
        self.shortcut = stride == 1 and inside == out
        self.body = nn.Sequential(
            nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


class MobileNet(nn.Module):
    """Input (batch, channels, height, width), output (batch, classes): after Sandler et al., 2018,
    "MobileNetV2".

    stem: channels and stride of the first convolution. stages: (channels, blocks, stride) each. kernel: of the
    convolutions within channels. expand: how many times wider a block is inside.
    """

    def __init__(
        self,
        classes: int,
        channels: int = 3,
        stem: tuple[int, int] = (16, 2),
        stages: Sequence[tuple[int, int, int]] = STAGES,
        kernel: int = 3,
        expand: int = 4,
    ) -> None:
        super().__init__()
        width, stride = stem
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU6(),
        ]  # fmt: skip
        for out, blocks, first in stages:
            for number in range(blocks):
                layers.append(Inverted(width, out, 1 if number else first, kernel, expand))
                width = out
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.features(x).mean((2, 3)))
        return y
