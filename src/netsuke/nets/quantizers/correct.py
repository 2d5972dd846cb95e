"""What is left of a layer's error after rounding, taken out channel by channel.

Rounding shifts the mean of a channel and changes its spread. Both can be had back without a byte
more: the mean in the bias, the spread in the channel's scale.
"""

from typing import Literal

import torch
from torch import Tensor

Correction = Literal["none", "bias", "norm"]
"""bias: means are put back (bias correction). norm: means and variances are (what BatchNorm
re-estimation does where BatchNorm is folded already)."""
MOST = 1.5
"""How far a channel's scale may be changed, either way."""


def gain(wanted: Tensor, given: Tensor) -> Tensor:
    """What each channel must be multiplied by for the variance wanted of it.

    wanted, given: (rows, channels), float network and quantized. A channel that is constant in either
    stays as it is. After Sun et al., 2019 ("Hybrid 8-bit floating point", BatchNorm re-tuning).
    """
    ratio = wanted.double().std(0) / given.double().std(0)
    usable = torch.isfinite(ratio) & (ratio > 0)
    return torch.where(usable, ratio.clamp(1 / MOST, MOST), 1.0)


def shift(wanted: Tensor, given: Tensor) -> Tensor:
    """What must be added to each channel for the mean wanted of it (Nagel et al., 2019)."""
    return wanted.double().mean(0) - given.double().mean(0)
