"""What a layer reads and gives, as rows: one for each position of its output."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor
from torch.fx import Node
from torch.nn import functional as F

from netsuke.nets.graph import argument, each_dimension
from netsuke.nets.quantizers.roles import op


def groups_of(layer: Node) -> int:
    return int(argument(layer, "groups", 1))


def positions(layer: Node, output: Tensor) -> int:
    """How many rows a sample has."""
    return prod(output.shape[1:-1] if op(layer) == "linear" else output.shape[2:])


def rows(
    layer: Node, kernel: Sequence[int], given: Tensor, output: Tensor, at: Tensor
) -> tuple[Tensor, Tensor]:
    """(what the layer reads, what it gives) at some positions of every sample: (groups, rows, inputs)
    and (groups, rows, outputs). kernel: the weight's dimensions after the second. at: positions, in the
    order of the output's memory.
    """
    if op(layer) == "linear":
        x, y = (t.reshape(len(t), -1, t.shape[-1])[:, at].flatten(0, 1) for t in (given, output))
        return x[None], y[None]
    patches = _patches(layer, kernel, given, torch.unravel_index(at, output.shape[2:]))
    groups = groups_of(layer)
    y = output.flatten(2)[:, :, at]
    return _by_group(patches.flatten(3), groups), _by_group(y[..., None], groups)


def _patches(layer: Node, kernel: Sequence[int], given: Tensor, at: Sequence[Tensor]) -> Tensor:
    """(batch, channels, positions, *kernel)."""
    dims = len(kernel)
    stride, dilation = (
        each_dimension(argument(layer, name), dims) for name in ("stride", "dilation")
    )
    index = []
    for d, size in enumerate(kernel):
        inside = at[d][:, None] * stride[d] + torch.arange(size) * dilation[d]
        index.append(inside.view(-1, *(size if i == d else 1 for i in range(dims))))
    everywhere: tuple[slice | Tensor, ...] = (slice(None), slice(None), *index)
    return _padded(layer, kernel, dilation, given)[everywhere]


def _padded(layer: Node, kernel: Sequence[int], dilation: Sequence[int], given: Tensor) -> Tensor:
    padding = argument(layer, "padding")
    if padding == "valid":
        return given
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        ends = [(t // 2, t - t // 2) for t in total]
    else:
        ends = [(p, p) for p in each_dimension(padding, len(kernel))]
    return F.pad(given, [p for end in reversed(ends) for p in end])


def _by_group(values: Tensor, groups: int) -> Tensor:
    """(batch, channels, positions, n) → (groups, batch · positions, channels / groups · n)."""
    batch, channels, count, size = values.shape
    apart = values.reshape(batch, groups, channels // groups, count, size)
    return apart.permute(1, 0, 3, 2, 4).reshape(groups, batch * count, -1)
