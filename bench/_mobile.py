"""Figure 6's network: depthwise-separable convolutions for 32×32 images, after MobileNet (Howard et
al., 2017), trained here, and a copy of it that computes the same from unbalanced channels."""

import math
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench._data import MEAN, STD, VALIDATE, augment, load_train
from bench._harness import Bench, say

STEM, BLOCKS = 16, ((32, 2), (32, 1), (80, 2), (80, 1), (80, 1), (160, 2), (160, 1))
"""Channels of the first convolution; channels and stride of each block: 2.7 M MACs."""
EPOCHS, BATCH, RATE, DECAY = 15, 128, 0.2, 2e-4
SPREAD = 32.0
"""Channels of the unbalanced copy differ by up to this factor from the others, either way."""


class Separable(nn.Module):
    """A convolution within each channel, then one across them; each with BatchNorm and ReLU."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False)
        self.bn1 = nn.BatchNorm2d(before)
        self.point = nn.Conv2d(before, after, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn2(self.point(torch.relu(self.bn1(self.depth(x))))))


class MobileNet(nn.Module):
    """Input (N, 3, 32, 32), output (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, STEM, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(STEM)
        widths = [STEM, *(width for width, _ in BLOCKS)]
        self.blocks = nn.Sequential(
            *(Separable(a, b, s) for a, (b, s) in zip(widths, BLOCKS, strict=False))
        )
        self.linear = nn.Linear(widths[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(torch.relu(self.bn(self.conv(x))))
        return cast(Tensor, self.linear(x.mean((2, 3))))


def mobilenet(bench: Bench) -> MobileNet:
    """The trained network: from the cache, or trained now."""
    from safetensors.torch import load_file, save_file

    kept, net = checkpoint(bench), MobileNet()
    if not kept.is_file():
        images = load_train(bench)
        rows = slice(VALIDATE.stop, VALIDATE.stop + 2000 if bench.quick else None)
        epochs = bench.count(EPOCHS, 1)
        say(f"training the depthwise network, {epochs} epochs")
        train(net, images.x[rows], images.y[rows], epochs)
        beside = kept.with_suffix(".part")
        save_file(net.state_dict(), beside)
        beside.replace(kept)
    net.load_state_dict(load_file(kept))
    return net.eval()


def checkpoint(bench: Bench) -> Path:
    """Where the trained weights are kept."""
    trained = "rehearsed" if bench.quick else f"{EPOCHS}-epochs"
    return bench.folder("mobile") / f"mobilenet-{trained}.safetensors"


def train(net: MobileNet, pixels: np.ndarray, classes: np.ndarray, epochs: int) -> None:
    """In place, on uint8 NHWC images: SGD with Nesterov momentum, one warm cycle, crop and flip."""
    torch.manual_seed(0)
    images, y = torch.from_numpy(np.array(pixels)), torch.from_numpy(classes)
    mean, std = torch.from_numpy(MEAN), torch.from_numpy(STD)
    sgd = torch.optim.SGD(net.parameters(), RATE, 0.9, weight_decay=DECAY, nesterov=True)
    steps = epochs * math.ceil(len(y) / BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        sgd, RATE, steps, pct_start=0.2, cycle_momentum=False
    )
    net.train().to(memory_format=torch.channels_last)
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(y)).split(BATCH):
            x = ((images[rows].float() / 255 - mean) / std).permute(0, 3, 1, 2)
            x = augment(x).contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(net(x), y[rows])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            cycle.step()
            total += loss.item() * len(rows)
        say(f"epoch {epoch + 1}: loss {total / len(y):.3f}")
    net.eval().to(memory_format=torch.contiguous_format)


def unbalanced(net: MobileNet, seed: int = 0) -> MobileNet:
    """A copy whose function is the same and whose channels are not: what a channel gives is scaled up
    or down, what reads it makes up for that (ReLU lets a positive factor pass)."""
    copy = MobileNet()
    copy.load_state_dict(net.state_dict())
    draw = torch.Generator().manual_seed(seed)
    before = copy.bn
    for block in cast(list[Separable], list(copy.blocks)):
        for norm, reader, along in ((before, block.depth, 0), (block.bn1, block.point, 1)):
            power = 2 * torch.rand(norm.num_features, generator=draw) - 1
            factor = SPREAD**power
            _scale(norm, reader.weight, factor, along)
        before = block.bn2
    return copy.eval()


@torch.no_grad()
def _scale(norm: nn.BatchNorm2d, reader: Tensor, factor: Tensor, along: int) -> None:
    norm.weight *= factor
    norm.bias *= factor
    shape = [1] * reader.dim()
    shape[along] = -1
    reader /= factor.view(shape)
