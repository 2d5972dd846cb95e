"""What is made good of a cut before any training: statistics, and weights fitted by least squares."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.distillation.losses import soft_loss
from netsuke.nets.evaluation import evaluating, some_batches
from netsuke.nets.graph import op
from netsuke.nets.moments import weighted
from netsuke.nets.refit import refit
from netsuke.nets.samples import Calibration
from netsuke.nets.training.train import recalibrate
from netsuke.passes.prune.space import Plan, Space

SAMPLES, FITTED = 1024, 500
"""Calibration samples for BatchNorm statistics, and for least squares."""
JUDGED = 512
"""Samples of the validation data, without labels, by which the nearest is chosen."""
TEMPERATURE = 4.0


def mended(
    network: GraphModule, model: Model, kept: Mapping[str, Tensor], goal: Goal, reconstruct: bool
) -> tuple[GraphModule, tuple[str, ...]]:
    """(The cut network with what can be made good of it, what to say of it.)

    kept: as ``nets.refit`` takes it. With ``reconstruct`` the weights are fitted to what the whole
    network gave, with its BatchNorm statistics or with new ones: whichever brings the outputs nearest.
    """
    anew = recalibrate(network, goal.data.calibrate, SAMPLES)
    if not reconstruct:
        return anew, ()
    fitted, layers = refit(
        network, model.network, kept, Calibration(model, goal, FITTED), goal.seed
    )
    if not layers:
        return anew, ("not reconstructed: no convolution or linear layer to fit",)
    tried = (fitted, recalibrate(fitted, goal.data.calibrate, SAMPLES), anew)
    distances = _distances(tried, model, goal)
    before, best = distances[-1], min(range(len(tried)), key=lambda i: distances[i])
    if tried[best] is anew:
        return anew, ("not reconstructed: fitted weights bring the outputs no nearer",)
    said = (
        f"reconstructed by least squares without labels: {len(layers)} layers, outputs "
        f"{distances[best]:.3g} from the original's instead of {before:.3g}"
    )
    return tried[best], (said,)


def channels_left(network: GraphModule, space: Space, plan: Plan) -> dict[str, Tensor]:
    """For every layer that the plan narrows, by node name, the output channels that stay."""
    stays, axes = space.parts.groups.stays(space.keep(plan)), space.parts.groups.axes
    found = {}
    for nodes in weighted(network).values():
        for node in nodes:
            stay = stays[axes[node.name][-1 if op(node) == "linear" else 1]]
            if not stay.all():
                found[node.name] = torch.from_numpy(np.flatnonzero(stay))
    return found


def _distances(networks: tuple[GraphModule, ...], model: Model, goal: Goal) -> tuple[float, ...]:
    """How far the outputs are from the original's; infinite where they leave the numbers."""
    distance, totals, seen = soft_loss(goal.data, TEMPERATURE), [0.0] * len(networks), 0
    for inputs, _ in some_batches(goal.data.validate, JUDGED):
        seen += len(inputs[0])
        with evaluating(model.network):
            wanted = model.network(*inputs)
        for i, network in enumerate(networks):
            with evaluating(network):
                totals[i] += float(distance(network(*inputs), wanted)) * len(inputs[0])
    return tuple(t / seen if torch.isfinite(torch.tensor(t)) else torch.inf for t in totals)
