"""The networks of the figures of ``bench federate``: convolutions that each halve their pictures, and two linear layers. With two of
5 × 5 and 512 units it is that of McMahan et al., 2017, "Communication-efficient learning of deep networks from decentralized data", and
the Conv-2 of Jiang et al., 2022 (PruneFL); with BatchNorm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d


class ConvNet(nn.Module):
    """shape: channels, height and width of its pictures. widths: of the convolutions; units: behind them."""

    def __init__(
        self, shape: tuple[int, int, int], widths: tuple[int, ...], kernel: int, units: int
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, kernel, padding=kernel // 2, bias=False)
            for i, o in zip((channels, *widths), widths, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(each) for each in widths)
        left = (height >> len(widths)) * (width >> len(widths))
        self.hidden = nn.Linear(widths[-1] * left, units)
        self.last = nn.Linear(units, 10)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = max_pool2d(torch.relu(norm(conv(x))), 2)
        return self.last(torch.relu(self.hidden(x.flatten(1))))
