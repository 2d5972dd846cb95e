"""Least squares where some weights must stay zero."""

import torch
from torch import Tensor

STEPS = 64
TINY = torch.finfo(torch.float64).tiny


def descended(start: Tensor, crossed: Tensor, hessian: Tensor, free: Tensor) -> Tensor:
    """The Q that minimizes ``tr(Q hessian Qᵀ) − 2 tr(Q crossedᵀ)`` among those that are zero where not
    ``free``: conjugate gradients on all outputs at once, preconditioned by the diagonal.

    start, crossed, free: (groups, outputs, inputs). hessian: (groups, inputs, inputs), positive
    definite. Float64.
    """
    scale = hessian.diagonal(dim1=1, dim2=2)[:, None]
    made = start * free
    left = (crossed - made @ hessian) * free
    step = ahead = left / scale
    size = (left * ahead).sum(2, keepdim=True)
    for _ in range(STEPS):
        pushed = step @ hessian * free
        far = size / (step * pushed).sum(2, keepdim=True).clamp(min=TINY)
        made, left = made + far * step, left - far * pushed
        ahead = left / scale
        now = (left * ahead).sum(2, keepdim=True)
        step = ahead + now / size.clamp(min=TINY) * step
        size = now
    return made
