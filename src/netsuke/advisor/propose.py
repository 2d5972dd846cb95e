"""Proposes recipes from the limits and facts about the model and the device.

Post-training INT8 alone where it is expected to meet the limits: it is the cheapest and costs the
least quality. With training data and a tighter limit, channels are pruned first, 30 % to begin
with, retrained with the original as teacher, and then quantized.
"""

from dataclasses import replace

from netsuke.advisor.advice import Advice, Proposal
from netsuke.advisor.readiness import file_bytes
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.layer import Layer
from netsuke.core.quantity import show
from netsuke.core.recipe import Recipe, make_pass
from netsuke.core.roofline import model_seconds
from netsuke.probes.estimate import SPREAD

RATIOS = (0.3, 0.45, 0.6, 0.75)


def propose(layers: tuple[Layer, ...], goal: Goal) -> Advice:
    """Recipes for a model with these layers (as captured, FP32), best first."""
    integer = "int8" in goal.device.formats
    ratios = RATIOS if goal.data.train is not None else ()
    options = [_option(layers, goal, 0.0, integer)] if integer else []
    options += [_option(layers, goal, ratio, integer) for ratio in ratios]
    if not options:
        raise NetsukeError(
            f"nothing to propose: {goal.device.name} has no INT8 kernels, and the task has no training data"
        )
    fitting = [o for o in options if not _misses(o, goal)]
    # Where nothing is expected to fit, the estimates may still be wrong: try from the mildest.
    order = fitting + [o for o in options if o not in fitting] if fitting else options
    first = order.index(fitting[0]) if fitting else 0
    later = [o for o in order[first:] if options.index(o) >= options.index(order[first])]
    return Advice(
        proposals=tuple(later),
        reasons=tuple(_reasons(layers, goal, order[first])),
        ruled_out=tuple(_ruled_out(options, later, goal, integer)),
    )


def _option(layers: tuple[Layer, ...], goal: Goal, ratio: float, integer: bool) -> Proposal:
    """One proposal. Removing ``ratio`` of the time is taken to remove as much of the weights."""
    passes = []
    if ratio:
        passes.append(make_pass("prune.channels", {"ratio": ratio}))
    if integer:
        passes.append(make_pass("quantize.static", {}))
    bits = 8 if integer else 32
    kept = tuple(
        replace(
            layer,
            weight_bits=bits,
            activation_bits=bits,
            weights=round(layer.weights * (1 - ratio)),
        )
        for layer in layers
    )
    size = file_bytes(kept)
    seconds = model_seconds(kept, goal.device) * (1 - ratio)
    reason = (
        "INT8 after training alone: cheapest, and loses least"
        if not ratio
        else (
            f"{ratio:.0%} of the time leaves with channels, retrained with the original as teacher"
            + (", then INT8" if integer else "")
        )
    )
    return Proposal(recipe=Recipe(*passes), reason=reason, size=size, seconds=seconds)


def _misses(option: Proposal, goal: Goal) -> list[str]:
    """The limits this proposal is not expected to meet, in words."""
    limits, misses = goal.budget.limits(), []
    if option.size > limits.get("size", float("inf")):
        misses.append(f"{show(option.size, 'B')} expected, {show(limits['size'], 'B')} allowed")
    # An estimate passes only when its whole range does; a measurement will speak for itself.
    slowest = option.seconds * (1 if goal.device.measured else SPREAD)
    if slowest > limits.get("latency_p95", float("inf")):
        misses.append(
            f"up to {show(slowest, 's')} expected, {show(limits['latency_p95'], 's')} allowed"
        )
    return misses


def _reasons(layers: tuple[Layer, ...], goal: Goal, chosen: Proposal) -> list[str]:
    weights = sum(layer.weights for layer in layers)
    reasons = [f"{weights:,} weights are {show(4 * weights, 'B')} in FP32; {chosen.reason}"]
    rates = goal.device.formats
    if "int8" in rates:
        reasons.append(
            f"{goal.device.name} multiplies INT8 {rates['int8'] / rates['fp32']:.1f}× as fast as FP32"
        )
    if goal.data.train is None:
        reasons.append("the task has no training data, so only post-training methods are proposed")
    if misses := _misses(chosen, goal):
        reasons.append(
            f"no proposal is expected to meet every limit ({'; '.join(misses)}); the best is kept"
        )
    return reasons


def _ruled_out(
    options: list[Proposal], kept: list[Proposal], goal: Goal, integer: bool
) -> list[str]:
    out = [] if integer else [f"quantization: {goal.device.name} has no INT8 kernels"]
    misses = (f"{o.reason}: {'; '.join(_misses(o, goal))}" for o in options if o not in kept)
    return [*out, *misses]
