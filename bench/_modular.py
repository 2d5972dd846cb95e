"""ResNet-20 of modules alone, for rivals that see modules and nothing between them. Needs torch alone."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from bench._resnet import Block, SliceAndPad, from_state


class Add(nn.Module):
    """The sum of two values."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return one + other


class ModularBlock(nn.Module):
    """A Block whose every operation is a module."""

    def __init__(self, block: Block, add: nn.Module) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu1 = block.conv1, block.bn1, nn.ReLU()
        self.conv2, self.bn2, self.relu2 = block.conv2, block.bn2, nn.ReLU()
        self.shortcut = (
            _strided(block) if isinstance(block.shortcut, SliceAndPad) else nn.Identity()
        )
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return cast(Tensor, self.relu2(self.add(out, self.shortcut(x))))


class ModularResNet(nn.Module):
    """Input (N, 3, 32, 32), output (N, 10)."""

    def __init__(self, state: Mapping[str, Tensor], add: type[nn.Module] = Add) -> None:
        super().__init__()
        net = from_state(state)
        self.conv1, self.bn1, self.relu = net.conv1, net.bn1, nn.ReLU()
        self.blocks = nn.Sequential(*(ModularBlock(block, add()) for block in net.blocks()))
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.linear = net.linear

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.relu(self.bn1(self.conv1(x))))
        return cast(Tensor, self.linear(self.flatten(self.pool(x))))


@torch.no_grad()
def _strided(block: Block) -> nn.Conv2d:
    """Slice and pad as a 1×1 convolution of stride 2: its weights, 0 and 1, are exact in any width
    of symmetric integers, so that it costs a rival nothing."""
    before, after = block.conv1.in_channels, block.conv2.out_channels
    conv = nn.Conv2d(before, after, 1, 2, bias=False)
    conv.weight.zero_()
    first = cast(SliceAndPad, block.shortcut).pad
    conv.weight[range(first, first + before), range(before)] = 1
    return conv


@torch.no_grad()
def classes(net: nn.Module, images: Tensor) -> Tensor:
    """What the network takes each image for."""
    return torch.cat([net(part).argmax(1) for part in images.split(100)])
