"""Figure 9's networks: the shapes of ResNet-18 (He et al., 2016) and MobileNetV2 (Sandler et al., 2018)
for 224×224 images, with random weights: time and bytes do not depend on what weights say."""

import itertools
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

SIDE, CLASSES = 224, 1000
INVERTED = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
"""Expansion, channels, blocks and first stride of each stage of MobileNetV2."""


def _conv(
    before: int, after: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(after)]


class Basic(nn.Module):
    """Two 3×3 convolutions around a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        first, second = _conv(before, after, 3, stride), _conv(after, after, 3)
        self.body = nn.Sequential(*first, nn.ReLU(), *second)
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_conv(before, after, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class Inverted(nn.Module):
    """Wide, within channels, narrow again; added where shapes allow."""

    def __init__(self, before: int, after: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        layers = [*_conv(before, wide, 1), nn.ReLU6()] if expansion > 1 else []
        layers += [*_conv(wide, wide, 3, stride, wide), nn.ReLU6(), *_conv(wide, after, 1)]
        self.body, self.added = nn.Sequential(*layers), before == after and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        out = cast(Tensor, self.body(x))
        return x + out if self.added else out


def resnet18() -> nn.Module:
    """11.7 M parameters, 1.8 G MACs."""
    torch.manual_seed(0)
    layers = [*_conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    widths = (64, 64, 128, 256, 512)
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        layers += [Basic(before, after, 2 if i else 1), Basic(after, after, 1)]
    return _ready([*layers, *_head(512)])


def mobilenet_v2() -> nn.Module:
    """3.5 M parameters, 0.3 G MACs."""
    torch.manual_seed(0)
    layers, before = [*_conv(3, 32, 3, 2), nn.ReLU6()], 32
    for expansion, after, count, stride in INVERTED:
        for i in range(count):
            layers.append(Inverted(before, after, 1 if i else stride, expansion))
            before = after
    return _ready([*layers, *_conv(before, 1280, 1), nn.ReLU6(), *_head(1280)])


def pictures(count: int) -> np.ndarray:
    """Random images, float32 NCHW."""
    draw = np.random.default_rng(0)
    return draw.normal(size=(count, 3, SIDE, SIDE)).astype(np.float32)


def _head(width: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES)]


def _ready(layers: list[nn.Module]) -> nn.Module:
    """In evaluation mode; weights such that values keep their size from layer to layer."""
    net = nn.Sequential(*layers)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in")
    return net.eval()
