"""GPTQ: weights are rounded one column after another, the rest makes up for the error made so far."""

import torch
from torch import Tensor

from netsuke.nets.quantizers.rounding.problem import Grid, Problem, Quadratic, take

DAMPING = 0.01
SWEEPS = 4
BLOCK = 128


def gptq(problem: Problem) -> Tensor:
    """GPTQ (Frantar et al., 2023) towards what the layer gave in the float network, columns with the
    most energy first; then single weights move to a better neighbour while that helps (coordinate
    descent, Behdin et al., 2023).

    Weights of a convolution are columns by input channel and kernel position.
    """
    form = Quadratic.of(problem, DAMPING)
    order = form.hessian.diagonal(dim1=1, dim2=2).argsort(1, descending=True)
    form, grid = form.columns(order), problem.grid.columns(order)
    rounded = _forward(form, grid)
    for _ in range(SWEEPS):
        _sweep(rounded, form, grid)
    return take(rounded, order.argsort(1))


def _forward(form: Quadratic, grid: Grid) -> Tensor:
    """Column after column; what follows a block of columns is corrected once for all of it."""
    target, factor = form.target, _factor_of_inverse(form.hessian)
    left, rounded = target.clone(), torch.empty_like(target)
    for start in range(0, left.shape[2], BLOCK):
        end = min(start + BLOCK, left.shape[2])
        errors = torch.empty_like(left[:, :, start:end])
        for j in range(start, end):
            rounded[:, :, j] = grid.column(left[:, :, j], j)
            error = (left[:, :, j] - rounded[:, :, j]) / factor[:, None, j, j]
            left[:, :, j:end] -= error[:, :, None] * factor[:, None, j, j:end]
            errors[:, :, j - start] = error
        left[:, :, end:] -= errors @ factor[:, start:end, end:]
    return rounded


def _factor_of_inverse(hessian: Tensor) -> Tensor:
    """The upper triangle U with UᵀU the inverse."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    return torch.linalg.cholesky(inverse, upper=True)


def _sweep(rounded: Tensor, form: Quadratic, grid: Grid) -> None:
    """Every weight to the best value given the others, one column after another (in place)."""
    hessian = form.hessian
    slope = (rounded - form.target) @ hessian
    for j in range(rounded.shape[2]):
        best = rounded[:, :, j] - slope[:, :, j] / hessian[:, None, j, j]
        step = grid.column(best, j) - rounded[:, :, j]
        rounded[:, :, j] += step
        slope += step[:, :, None] * hessian[:, None, j]
