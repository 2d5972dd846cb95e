"""Learned step sizes: values, gradients, number formats."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netsuke.nets.quantizers.lsq import Grid, LearnedStep
from netsuke.nets.quantizers.quantizer import Encoding, quantize


def made(scale: float | list[float], zero: int, grid: Grid, count: int = 1) -> LearnedStep:
    step = torch.tensor(scale)
    return LearnedStep(Encoding(step, torch.full_like(step, zero, dtype=torch.int32)), grid, count)


@settings(deadline=None, max_examples=50)
@given(
    bits=st.integers(2, 8), zero=st.integers(0, 3), scale=st.floats(0.01, 10), seed=st.integers(0, 99)
)  # fmt: skip
def test_it_rounds_as_the_deployed_quantizer(bits: int, zero: int, scale: float, seed: int):
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed)) * scale * 4
    ours = made(scale, zero, Grid((0, 2**bits - 1)))
    theirs = quantize(x, *vars_of(ours), 0, 2**bits - 1, -1)
    # One divides, the other multiplies by the inverse: only ties may differ.
    tie = ((x / scale).frac().abs() - 0.5).abs() < 1e-4
    assert torch.allclose(ours(x)[~tie], theirs[~tie], rtol=1e-5)


def vars_of(step: LearnedStep) -> tuple[torch.Tensor, torch.Tensor]:
    return step.encoding().scale, step.encoding().zero_point


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gradients_are_those_of_the_paper(bits: int):
    """Esser et al., equations 3 and 5, and the gradient scale of section 2.2."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    x = (torch.randn(1, 500, generator=torch.Generator().manual_seed(0)) * 2).requires_grad_()
    q, g = made(0.3, 0, Grid((low, high)), count=500), torch.randn(1, 500)
    q(x).backward(g)
    v = (x / 0.3).detach()
    inside = (v > low) & (v < high)
    by_step = torch.where(inside, v.round() - v, v.clamp(low, high))
    assert torch.equal(x.grad, g * inside)  # type: ignore[arg-type]
    expected = (g * by_step).sum() / math.sqrt(500 * high)
    assert torch.allclose(q.scale.grad, expected, rtol=1e-3, atol=1e-5)  # type: ignore[arg-type]


def test_a_large_batch_is_looked_at_in_part():
    """The estimate is the whole gradient but for noise, and a quarter of the batch makes it."""
    x = torch.randn(256, 2000, generator=torch.Generator().manual_seed(0)).abs()
    q, whole = (made(0.3, 0, Grid((0, 7)), count=2000) for _ in range(2))
    (q(x) - x).square().sum().backward()
    for rows in x.split(32):
        (whole(rows) - rows).square().sum().backward()
    assert q.scale.grad != whole.scale.grad
    assert torch.allclose(q.scale.grad, whole.scale.grad, rtol=0.03)  # type: ignore[arg-type]


def test_each_channel_and_each_group_learns_its_own_step():
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    rows = made([0.1, 1.0], 0, Grid((-7, 7), axis=0))
    groups = made([[0.1, 0.1], [1.0, 1.0]], 0, Grid((-7, 7), axis=0, group=3))
    assert torch.equal(rows(x), groups(x))
    for step in (rows, groups):
        step(x).square().sum().backward()
    summed = groups.scale.grad.sum(1)  # type: ignore[union-attr]
    assert torch.allclose(rows.scale.grad, summed, rtol=1e-4)  # type: ignore[arg-type]
    assert rows.scale.grad[0] != rows.scale.grad[1]  # type: ignore[index]


def test_zero_points_may_differ_by_channel():
    x = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    zeros = torch.tensor([3, 9], dtype=torch.int32)
    q = LearnedStep(Encoding(torch.tensor([0.2, 0.2]), zeros), Grid((0, 15), axis=0), 50)
    assert torch.allclose(q(x), quantize(x, q.scale.detach(), zeros, 0, 15, 0))
    q(x).sum().backward()
    assert bool((q.scale.grad != 0).all())  # type: ignore[union-attr]


def test_it_rounds_in_float32_under_autocast():
    x = (torch.arange(256) * 0.5).bfloat16().requires_grad_()
    q = made(0.5, 0, Grid((0, 255)))
    out = q(x)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, x)  # each is on the grid: half precision must not move it
    out.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16


def test_the_best_step_is_found():
    """Gradient descent on the error itself ends near the best scale of a fine search."""
    x = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    q = made(2.0, 0, Grid((-2, 1)), count=1)
    optimizer = torch.optim.Adam(q.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        (q(x) - x).square().mean().backward()
        optimizer.step()

    def error(scale: float) -> float:
        level = (x / scale).round().clamp(-2, 1)
        return float((level * scale - x).square().mean())

    best = min(error(s) for s in torch.linspace(0.2, 2, 200).tolist())
    assert error(q.step.item()) < 1.02 * best


def test_a_step_never_reaches_zero():
    q = made(0.0, 0, Grid((-7, 7)))
    assert bool(torch.isfinite(q(torch.randn(5))).all())
