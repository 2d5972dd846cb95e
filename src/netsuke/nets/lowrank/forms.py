"""How a layer's weight splits in two, so that the layer's outputs move least on the data.

``channel``: fewer channels first, then a 1×1 convolution that makes all of them (Zhang et al., 2016; for
a linear layer or a 1×1 convolution it is the singular value decomposition). ``spatial``: a k×1 kernel,
then a 1×k one (Jaderberg et al., 2014).
"""

from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor

Form = Literal["channel", "spatial"]
DAMP = 1e-6
"""Share of the mean diagonal added to second moments before they are inverted."""


@dataclass(frozen=True, eq=False)
class Factors:
    """Two weights in place of one, and the bias of the second."""

    first: Tensor
    second: Tensor
    bias: Tensor


@dataclass(frozen=True, eq=False)
class Problem:
    """A layer and the data it reads.

    weight: (outputs, inputs, *kernel). bias: (outputs,). moments: (n + 1, n + 1) float64 of its n inputs
    and a constant 1, as ``nets.moments`` gives them; None where no data is to be looked at.
    """

    weight: Tensor
    bias: Tensor
    moments: Tensor | None

    @property
    def covariance(self) -> Tensor:
        """Of the inputs around their means; the identity without data."""
        if self.moments is None:
            return torch.eye(self.weight[0].numel(), dtype=torch.float64)
        return self.moments[:-1, :-1] - torch.outer(self.means, self.means)

    @property
    def means(self) -> Tensor:
        if self.moments is None:
            return torch.zeros(self.weight[0].numel(), dtype=torch.float64)
        return self.moments[:-1, -1]


def forms(shape: tuple[int, ...]) -> tuple[Form, ...]:
    """The forms a weight of this shape can take."""
    picture = len(shape) == 4 and min(shape[2:]) > 1
    return ("channel", "spatial") if picture else ("channel",)


def full_rank(form: Form, shape: tuple[int, ...]) -> int:
    """The rank that loses nothing."""
    if form == "channel":
        return min(shape[0], prod(shape[1:]))
    return min(shape[1] * shape[2], shape[0] * shape[3])


def shapes(form: Form, shape: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], ...]:
    """The shapes of the two weights."""
    if form == "channel":
        return (rank, *shape[1:]), (shape[0], rank, *(1 for _ in shape[2:]))
    return (rank, shape[1], shape[2], 1), (shape[0], rank, 1, shape[3])


def errors(form: Form, problem: Problem, ranks: tuple[int, ...]) -> tuple[float, ...]:
    """For each rank the share of the outputs' variance that is lost."""
    weight, cov = _matrix(problem.weight), problem.covariance
    power = float(torch.einsum("oi,ij,oj->", weight, cov, weight)) + 1e-30
    if form == "channel":
        values = torch.linalg.eigvalsh(weight @ cov @ weight.T).flip(0).clamp(min=0)
        left = values.sum() - values.cumsum(0)
        return tuple(max(0.0, float(left[rank - 1]) / power) for rank in ranks)
    spatial = _Spatial(problem)
    return tuple(spatial.lost(rank) / power for rank in ranks)


def factors(form: Form, problem: Problem, rank: int) -> Factors:
    """The two weights. The bias gives back what the means lose."""
    weight, dtype = _matrix(problem.weight), problem.weight.dtype
    if form == "channel":
        _, vectors = torch.linalg.eigh(weight @ problem.covariance @ weight.T)
        basis = vectors.flip(1)[:, :rank]
        one, two = basis.T @ weight, basis
        product = basis @ one
    else:
        spatial = _Spatial(problem)
        one, two = spatial.first(rank), spatial.second(rank)
        product = _joined(one, two, problem.weight.shape)
    small, large = shapes(form, tuple(problem.weight.shape), rank)
    bias = problem.bias.double() + (weight - product) @ problem.means
    return Factors(
        one.reshape(small).to(dtype).contiguous(),
        two.reshape(large).to(dtype).contiguous(),
        bias.to(dtype),
    )


class _Spatial:
    """The columns by a singular value decomposition weighted with what channels hold; the rows then by
    least squares on what the columns give."""

    def __init__(self, problem: Problem) -> None:
        self._shape = outs, ins, high, wide = problem.weight.shape
        self._weight, self._cov = _matrix(problem.weight), problem.covariance
        apart = self._cov.reshape(ins, high * wide, ins, high * wide)
        channels = torch.einsum("akbk->ab", apart) / (high * wide)
        values, vectors = torch.linalg.eigh(channels)
        roots = (values.clamp(min=0) + DAMP * values.mean().clamp(min=1e-12)).sqrt()
        white = vectors * roots @ vectors.T
        back = vectors / roots @ vectors.T
        arranged = problem.weight.double().permute(1, 2, 0, 3)  # (ins, high, outs, wide)
        seen = torch.einsum("ab,bhow->ahow", white, arranged).reshape(ins * high, outs * wide)
        left = torch.linalg.svd(seen, full_matrices=False)[0]
        self._columns = torch.einsum("ab,bhr->rah", back, left.reshape(ins, high, -1))

    def first(self, rank: int) -> Tensor:
        """(rank, ins, high)."""
        return self._columns[:rank]

    def second(self, rank: int) -> Tensor:
        """(outs, rank, wide)."""
        gram, cross = self._seen(rank)
        damp = DAMP * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        found: Tensor = torch.linalg.solve(gram + damp, cross).T
        return found.reshape(self._shape[0], rank, self._shape[3])

    def lost(self, rank: int) -> float:
        """The variance of the outputs that is lost."""
        whole = self._weight - _joined(self.first(rank), self.second(rank), self._shape)
        return float(torch.einsum("oi,ij,oj->", whole, self._cov, whole))

    def _seen(self, rank: int) -> tuple[Tensor, Tensor]:
        """Moments of what the columns give, (rank · wide)², and theirs with the outputs."""
        _, ins, high, wide = self._shape
        lifted = torch.zeros(rank, wide, ins, high, wide, dtype=torch.float64)
        for place in range(wide):
            lifted[:, place, :, :, place] = self.first(rank)
        flat = lifted.reshape(rank * wide, -1)
        return flat @ self._cov @ flat.T, flat @ self._cov @ self._weight.T


def _joined(first: Tensor, second: Tensor, shape: torch.Size) -> Tensor:
    """The weight that a k×1 and a 1×k kernel make together, as a matrix."""
    return torch.einsum("rah,orw->oahw", first, second).reshape(shape[0], -1)


def _matrix(weight: Tensor) -> Tensor:
    return weight.detach().double().reshape(len(weight), -1)
