"""How many weights stay in each layer, and which: from scores to masks."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from netsuke.nets.sparse.layers import Layer
from netsuke.nets.sparse.pattern import Pattern

Scope = Literal["global", "layer", "erk"]
Scores = Mapping[str, Tensor]
LEAST = 0.1
"""With one threshold for all, a layer keeps this share of the mean density at least, and one weight:
a network with an empty layer says nothing (layer collapse: Tanaka et al., 2020)."""


def masks(
    layers: Sequence[Layer], scores: Scores, sparsity: float, how: tuple[Pattern, Scope]
) -> dict[str, Tensor]:
    """The weights that stay: of each run where the pattern says, else those with the highest scores.

    sparsity: share of all the layers' weights that leaves. Scope "global" compares scores across
    layers, "layer" takes the same share of each, "erk" more of the larger ones (Evci et al., 2020).
    Exactly as many stay as are counted, ties included.
    """
    pattern, scope = how
    if not pattern.free:
        return {layer.weight: pattern.best(scores[layer.weight], layer) for layer in layers}
    counts = {"global": _by_score, "layer": _evenly, "erk": _by_shape}[scope](
        layers, scores, sparsity
    )
    return {name: _highest(scores[name], count) for name, count in counts.items()}


def least_kept(layers: Sequence[Layer], sparsity: float, how: tuple[Pattern, Scope]) -> Layer | None:  # fmt: skip
    """A layer of which nothing would stay; None where there is none."""
    pattern, scope = how
    if not layers or not pattern.free:
        return None
    if scope == "global":
        smallest = min(layers, key=lambda layer: layer.size)
        few = round((1 - sparsity) * sum(layer.size for layer in layers)) < len(layers)
        return smallest if few else None
    shares = _shares(layers, sparsity) if scope == "erk" else [1 - sparsity] * len(layers)
    return next((x for x, s in zip(layers, shares, strict=True) if round(s * x.size) < 1), None)


def _highest(scores: Tensor, count: int) -> Tensor:
    mask = torch.zeros_like(scores, dtype=torch.bool)
    flat = torch.zeros(scores.numel(), dtype=torch.bool)
    flat[scores.flatten().topk(count).indices] = True
    return mask.copy_(flat.view(scores.shape))


def _evenly(layers: Sequence[Layer], scores: Scores, sparsity: float) -> dict[str, int]:
    return {x.weight: max(1, round((1 - sparsity) * x.size)) for x in layers}


def _by_shape(layers: Sequence[Layer], scores: Scores, sparsity: float) -> dict[str, int]:
    shares = _shares(layers, sparsity)
    return {x.weight: max(1, round(s * x.size)) for x, s in zip(layers, shares, strict=True)}


def _shares(layers: Sequence[Layer], sparsity: float) -> list[float]:
    """Erdős–Rényi kernel: densities in proportion to the sum of a weight's dimensions over their
    product; a layer that would need more than all of its weights keeps them all."""
    odds = [sum(x.shape) / x.size for x in layers]
    full: set[int] = set()
    while True:
        left = (1 - sparsity) * sum(x.size for x in layers) - sum(layers[i].size for i in full)
        weight = sum(o * x.size for i, (o, x) in enumerate(zip(odds, layers, strict=True)) if i not in full)  # fmt: skip
        factor = max(0.0, left / weight) if weight else 0.0
        over = {i for i, o in enumerate(odds) if i not in full and o * factor > 1}
        if not over:
            return [1.0 if i in full else o * factor for i, o in enumerate(odds)]
        full |= over


def _by_score(layers: Sequence[Layer], scores: Scores, sparsity: float) -> dict[str, int]:
    """One threshold over all layers, none below its least."""
    total = sum(x.size for x in layers)
    least = {x.weight: max(1, round(LEAST * (1 - sparsity) * x.size)) for x in layers}
    sure = {x.weight: _highest(scores[x.weight], least[x.weight]) for x in layers}
    rest = max(0, round((1 - sparsity) * total) - sum(least.values()))
    open_ = [scores[x.weight].masked_fill(sure[x.weight], -torch.inf).flatten() for x in layers]
    every = torch.cat(open_)
    chosen = every.topk(min(rest, int(torch.isfinite(every).sum()))).indices
    ends = torch.tensor([len(x) for x in open_]).cumsum(0)
    more = torch.bincount(torch.bucketize(chosen, ends, right=True), minlength=len(layers))
    return {x.weight: least[x.weight] + int(n) for x, n in zip(layers, more.tolist(), strict=True)}
