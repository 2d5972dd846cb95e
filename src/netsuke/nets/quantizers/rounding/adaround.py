"""AdaRound: whether each weight goes up or down is learned."""

import torch
from torch import Tensor

from netsuke.nets.quantizers.rounding.problem import Problem, Quadratic

STEPS = 500
RATE = 0.05
DAMPING = 0.01
STRETCH = 1.1, -0.1
PULL = 10.0
"""Weight of the term that ends all indecision, beside an error scaled to 1 for nearest rounding."""
WARM = 0.2
BETA = 8.0, 2.0


def adaround(problem: Problem) -> Tensor:
    """Adaptive rounding (Nagel et al., 2020) towards what the layer gave in the float network.

    Each weight lies between the two values of the grid around it, at a rectified sigmoid of a
    variable; Adam lowers the error, and a growing penalty drives every sigmoid to 0 or 1. The error
    is the layer's, before its activation, over all rows at once. An output that ends worse than with
    nearest rounding keeps that.
    """
    form = Quadratic.of(problem, DAMPING)
    grid, step = problem.grid, (problem.grid.step * problem.grid.free).float()
    size = form.error(grid.nearest(form.target)).sum().float().clamp(min=1e-30)
    floor = torch.floor(form.target / grid.step).clamp_(grid.low, grid.high - 1).float()
    # By hand: differentiating the error would multiply by the Hessian twice.
    low, hessian = floor * step - form.target.float(), form.hessian.float()
    learned = _logit((form.target / grid.step - floor).clamp_(0.01, 0.99).float())
    optimizer = torch.optim.Adam([learned], RATE)
    for i in range(STEPS):
        share = _share(learned)
        learned.grad = ((low + share * step) @ hessian).mul_(step).mul_(2 * step.numel() / size)
        if i >= WARM * STEPS:
            learned.grad += _pull(share, (i / STEPS - WARM) / (1 - WARM))
        learned.grad *= _share_slope(learned)
        optimizer.step()
    made = (floor + (_share(learned) >= 0.5)) * grid.step * grid.free
    plain = grid.nearest(form.target)
    better = form.error(made) < form.error(plain)
    return torch.where(better[:, :, None], made, plain)


def _pull(share: Tensor, done: float) -> Tensor:
    """The slope of the penalty ``1 - |2 share - 1| ** beta``; beta falls as the training is done."""
    beta = BETA[0] + (BETA[1] - BETA[0]) * done
    off = 2 * share - 1
    return off.abs().pow_(beta - 1).copysign_(off).mul_(-2 * beta * PULL)


def _share_slope(learned: Tensor) -> Tensor:
    """The slope of ``_share``: zero where it is cut."""
    high, low = STRETCH
    share = torch.sigmoid(learned)
    raw = share * (high - low) + low
    return (share * (1 - share)).mul_(high - low).mul_((raw > 0) & (raw < 1))


def _share(learned: Tensor) -> Tensor:
    """The rectified sigmoid: 0 … 1, both reached."""
    high, low = STRETCH
    return (torch.sigmoid(learned) * (high - low) + low).clamp(0, 1)


def _logit(share: Tensor) -> Tensor:
    high, low = STRETCH
    return torch.logit((share - low) / (high - low))
