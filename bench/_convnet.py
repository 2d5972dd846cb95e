"""The network of the figures of ``bench federate``: three convolutions and two layers behind them, as McMahan et al., 2017,
"Communication-efficient learning of deep networks from decentralized data", had two of each; with BatchNorm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

WIDTHS, UNITS = (32, 64, 128), 128


class ConvNet(nn.Module):
    """channels, size: of its pictures, whose sides it halves three times."""

    def __init__(self, channels: int, size: tuple[int, int], classes: int = 10) -> None:
        super().__init__()
        before = (channels, *WIDTHS)
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in zip(before, WIDTHS, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in WIDTHS)
        self.hidden = nn.Linear(WIDTHS[-1] * (size[0] // 8) * (size[1] // 8), UNITS)
        self.last = nn.Linear(UNITS, classes)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = max_pool2d(torch.relu(norm(conv(x))), 2)
        return self.last(torch.relu(self.hidden(x.flatten(1))))
