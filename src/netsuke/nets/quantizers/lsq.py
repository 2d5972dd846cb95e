"""Learned step sizes: quantizers that train with the network (Esser et al., "Learned Step Size
Quantization", 2020)."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netsuke.nets.quantizers.quantizer import Encoding, along

LEAST = 1e-30
"""A step is a divisor, so it never reaches zero."""
SMALL_BATCH, PART = 64, 4
"""An activation's step learns from a quarter of a batch of 64 samples or more."""


@dataclass(frozen=True)
class Grid:
    """limits: the smallest and the largest code. axis, group: which values share a scale, as in
    ``netsuke::quantize``."""

    limits: tuple[int, int]
    axis: int = -1
    group: int = 0


class LearnedStep(nn.Module):
    """A quantizer whose scale is a parameter; its zero point and its limits stay.

    Rounds in float32 whatever it is given, so it trains under autocast. count: the values that share
    a scale, of one sample for an activation. The scale's gradient is divided by sqrt(count · largest
    code), which keeps its updates in proportion to those of the weights.
    """

    zero_point: Tensor

    def __init__(self, encoding: Encoding, grid: Grid, count: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(encoding.scale.detach().float().clone())
        self.register_buffer("zero_point", encoding.zero_point.detach().clone())
        self.grid = grid
        self.damping = 1 / math.sqrt(count * max(grid.limits[1], 1))

    @property
    def step(self) -> Tensor:
        """The scale, kept above zero."""
        return self.scale.abs().clamp(min=LEAST)

    def forward(self, x: Tensor) -> Tensor:
        """x on its grid, in the dtype of x."""
        return on_grid(x, self._along(x, self.step), self._ends(x), self.damping)

    def codes(self, x: Tensor) -> Tensor:
        """The multiples of the step that x becomes, as floats."""
        return torch.round(_exact(x, self._along(x, self.step)).clamp(*self._ends(x)))

    def encoding(self) -> Encoding:
        """What has been learned."""
        return Encoding(self.step.detach().clone(), self.zero_point.clone())

    def _along(self, x: Tensor, values: Tensor) -> Tensor:
        return along(x.float(), values, self.grid.axis, self.grid.group)

    def _ends(self, x: Tensor) -> tuple[Any, Any]:
        """The smallest and the largest multiple of the step: numbers where the zero point is one for
        all, else tensors."""
        low, high = self.grid.limits
        first = self.zero_point.flatten()[0]
        if bool((self.zero_point == first).all()):
            return low - int(first), high - int(first)
        zero = self._along(x, self.zero_point)
        return low - zero, high - zero


def on_grid(x: Tensor, step: Tensor, ends: tuple[Any, Any], damping: float) -> Tensor:
    """``round(clamp(x / step, *ends)) · step``, whose gradient passes straight through inside the
    ends, and reaches the step as Esser et al. derive it, times ``damping``.

    step: broadcast to x. ends: two numbers, or tensors that are broadcast likewise.
    """
    made: Tensor = _OnGrid.apply(x, step, *ends, damping)
    return made


class _OnGrid(torch.autograd.Function):
    """Few passes over memory: a network of small channels spends its training on them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: Any, high: Any, damping: float) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.low, ctx.high, ctx.damping = low, high, damping
        level = _exact(x, step).clamp_(low, high).round_()
        return level.mul_(step).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, step = ctx.saved_tensors
        inside, to_step = _inside(grad, x, step, (ctx.low, ctx.high)), None
        if ctx.needs_input_grad[1]:
            count = _looked_at(x, step)
            some, wide = _exact(x[:count], step), grad[:count].float()
            # d(level · step) / d step: level − x / step inside, the end itself outside
            level = some.clamp(ctx.low, ctx.high).round_()
            parts = level.mul_(wide).addcmul_(inside[:count].float(), some, value=-1)
            to_step = parts.sum_to_size(step.shape).mul_(ctx.damping * len(x) / max(count, 1))
        return inside, to_step, None, None, None


def _exact(x: Tensor, step: Tensor) -> Tensor:
    return x.float() * step.reciprocal()


def _looked_at(x: Tensor, step: Tensor) -> int:
    """Samples from which the gradient of a step is estimated: it sums over so many values that a part
    of a large batch tells it as well."""
    if step.numel() > 1 or len(x) < SMALL_BATCH:
        return len(x)
    return len(x) // PART


def _inside(grad: Tensor, x: Tensor, step: Tensor, ends: tuple[Any, Any]) -> Tensor:
    """The gradient where the value lies between the ends, else zero."""
    low, high = ends
    if step.numel() == 1 and not isinstance(low, Tensor):
        size = float(step)
        masked: Tensor = torch.ops.aten.hardtanh_backward(grad, x, low * size, high * size)
        return masked
    exact = _exact(x, step)
    return grad * ((exact > low) & (exact < high))
