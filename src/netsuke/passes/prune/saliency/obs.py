"""Optimal Brain Surgeon, layer by layer: what is lost after the others have made up for it."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.moments import moments
from netsuke.nets.quantizers.roles import op
from netsuke.nets.samples import Calibration
from netsuke.nets.sparse.layers import TRANSPOSED, Layer, check_finite, value
from netsuke.nets.sparse.saliency import Saliency

SAMPLES = 256
DAMPING = 0.01


class Obs(Saliency):
    """``w² / (H⁻¹)ⱼⱼ`` with H of what the layer reads on calibration samples, as a share of what
    it gives (Hassibi and Stork, 1993; Frantar and Alistarh, 2022 and 2023). With reconstruction this is the
    choice of SparseGPT, its weights then fitted all at once. Needs no labels; memory of the square of
    a layer's inputs. The inputs of transposed convolutions count as alike;
    of a shared weight its last reader's count."""

    name: ClassVar[str] = "obs"

    def score(self, model: Model, layers: Sequence[Layer], goal: Goal) -> dict[str, Tensor]:
        named = {node: x.weight for x in layers for node in x.nodes if op(node) not in TRANSPOSED}
        samples = Calibration(model, goal, SAMPLES)
        scores = {x.weight: _alike(value(model.network, x.weight)) for x in layers}
        for node, gram in moments(model.network, list(named), samples, goal.seed):
            check_finite(node, gram)
            scores[named[node]] = _score(value(model.network, named[node]), gram)
        return scores


def _alike(weight: Tensor) -> Tensor:
    return weight.square() / weight.square().sum().clamp(min=torch.finfo(torch.float32).tiny)


def _score(weight: Tensor, gram: Tensor) -> Tensor:
    hessian = gram.clone()
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    tiny = torch.finfo(torch.float32).tiny
    diagonal += (DAMPING * diagonal.mean(1)).clamp(min=tiny)[:, None]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian)).diagonal(dim1=1, dim2=2)
    rows = weight.double().reshape(len(gram), len(weight) // len(gram), -1)
    given = ((rows @ hessian) * rows).sum().clamp(min=tiny)
    return (rows.square() / inverse[:, None] / given).reshape(weight.shape).float()
