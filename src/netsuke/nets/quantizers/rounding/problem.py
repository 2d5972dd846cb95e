"""One layer's weights to be rounded: the grid they must land on, and the data they should fit."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.nets.quantizers.quantizer import Quantizer, along, read


@dataclass(frozen=True)
class Grid:
    """The values a weight may take: ``step · code``, codes low … high.

    step: one for each weight, shape (groups, outputs, inputs), float64. free: False where the weight
    was pruned, and its code stays 0; of the same shape.
    """

    step: Tensor
    low: int
    high: int
    free: Tensor

    @staticmethod
    def of(network: GraphModule, q: Quantizer, groups: int, weight: Tensor) -> "Grid | None":
        """The grid of a weight's quantizer; None where its codes are not symmetric integers."""
        encoding = read(network, q.key)
        if bool(encoding.zero_point.any()):
            return None
        step = along(weight.double(), encoding.scale, q.axis, q.group).expand_as(weight)
        shape = (groups, len(weight) // groups, -1)
        return Grid(step.reshape(shape), *q.limits, (weight != 0).reshape(shape))

    def codes(self, weight: Tensor) -> Tensor:
        """The nearest code of each weight, as floats."""
        return torch.round(weight / self.step).clamp(self.low, self.high) * self.free

    def nearest(self, weight: Tensor) -> Tensor:
        """The nearest value of the grid for each weight."""
        return self.codes(weight) * self.step

    def column(self, values: Tensor, j: int) -> Tensor:
        """The same for the weights of one input, (groups, outputs)."""
        step = self.step[:, :, j]
        return torch.round(values / step).clamp(self.low, self.high) * step * self.free[:, :, j]

    def columns(self, order: Tensor) -> "Grid":
        """The grid of weights whose columns are taken in this order, (groups, inputs)."""
        return replace(self, step=take(self.step, order), free=take(self.free, order))


@dataclass(frozen=True)
class Problem:
    """Find Q on the grid so that ``x Qᵀ`` is near to y.

    weight: the float weights, (groups, outputs, inputs), in the precision to compute in. x: (groups, rows, inputs), what the
    layer reads in the quantized network. y: (groups, rows, outputs), what it gives in the float one.
    """

    weight: Tensor
    grid: Grid
    x: Tensor
    y: Tensor

    def to(self, precision: torch.dtype) -> "Problem":
        """To be computed in this precision."""
        grid = replace(self.grid, step=self.grid.step.to(precision))
        return replace(self, weight=self.weight.to(precision), grid=grid)


@dataclass(frozen=True)
class Quadratic:
    """The same as a quadratic form: the error of Q is ``tr((Q − target) hessian (Q − target)ᵀ)`` and
    a constant. target: (groups, outputs, inputs); hessian: (groups, inputs, inputs)."""

    target: Tensor
    hessian: Tensor

    @staticmethod
    def of(problem: Problem, damping: float) -> "Quadratic":
        """The form of a problem; see ``fit``."""
        return Quadratic.fit(problem.weight, problem.x, problem.y, damping)

    @staticmethod
    def fit(weight: Tensor, x: Tensor, y: Tensor, damping: float) -> "Quadratic":
        """damping: what is added to the diagonal, as a share of its mean; it keeps the target near
        the float weights where the rows do not say. The rest is as in ``Problem``."""
        hessian = (x.mT @ x).to(weight.dtype)
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        extra = (damping * diagonal.mean(1)).clamp(min=torch.finfo(torch.float32).tiny)
        diagonal += extra[:, None]
        crossed = (y.mT @ x).to(weight.dtype) + extra[:, None, None] * weight
        target = torch.cholesky_solve(crossed.mT, torch.linalg.cholesky(hessian)).mT
        return Quadratic(target, hessian)

    def columns(self, order: Tensor) -> "Quadratic":
        """The same with the inputs in this order, (groups, inputs)."""
        group = torch.arange(len(order))[:, None, None]
        hessian = self.hessian[group, order[:, :, None], order[:, None, :]]
        return Quadratic(take(self.target, order), hessian)

    def error(self, weight: Tensor) -> Tensor:
        """The error of each output's weights, (groups, outputs)."""
        off = weight - self.target
        return ((off @ self.hessian) * off).sum(2)


def take(columns: Tensor, order: Tensor) -> Tensor:
    """Columns of (groups, outputs, inputs) in the order (groups, inputs)."""
    return columns.gather(2, order[:, None].expand_as(columns))
