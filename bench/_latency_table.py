"""Figure 7 of `bench prune` and 3 of `bench search`: how well a device's table of single kernels tells the time
of pruned networks."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._harness import Bench, Claim, Figure, say
from bench._setup import RESNET20, network, post_training
from bench._shapes import mobilenet_v2, pictures
from bench._timing import compare

if TYPE_CHECKING:
    from torch import nn

    from netsuke.clock import LiveKernels
    from netsuke.core.device import Device
    from netsuke.core.model import Model
    from netsuke.passes.prune.space import Plan, Space

RESNET56 = "resnet_cifar10/resnet56_jpeg.safetensors"
PRUNINGS, SUBNETS, SEED = 20, 50, 2
"""Others than those of seeds 0 and 1, on which the correction was chosen."""
SIDE = 96
"""Of MobileNetV2's pictures, as in the visual wake words benchmark."""
WIDEST, NARROWEST = 0.9, 0.12
"""Shares of the multiply-accumulates that the random prunings are spread over."""
MIDDLE = 0.4
"""The same, of the reference beside the whole network."""
MEDIAN_ERROR, RANK, SPAN = 10.0, 0.95, 3.0


@dataclass(frozen=True)
class Found:
    """One network's prunings: seconds of each, predicted and measured, and of the whole."""

    predicted: list[float]
    estimated: list[float]
    measured: list[float]
    kernels: int

    def error(self, given: list[float]) -> float:
        """The median of |given − measured| in percent."""
        pairs = zip(given, self.measured, strict=True)
        return 100 * statistics.median(abs(p / m - 1) for p, m in pairs)

    @property
    def rank(self) -> float:
        from scipy.stats import spearmanr

        return float(spearmanr(self.predicted, self.measured).statistic)

    @property
    def span(self) -> float:
        return max(self.measured) / min(self.measured)


def latency(bench: Bench) -> Figure:
    """Twenty random prunings each of ResNet-20, ResNet-56 and MobileNetV2, predicted and measured."""
    task = post_training(bench)
    nets: dict[str, tuple[nn.Module, np.ndarray]] = {
        "ResNet-20": (network(bench, RESNET20), task.calibrate[:2]),
        "ResNet-56": (network(bench, RESNET56), task.calibrate[:2]),
        "MobileNetV2": (mobilenet_v2(), pictures(2)[:, :, :SIDE, :SIDE]),
    }
    claims: list[Claim] = []
    details: dict[str, Any] = {}
    for name, (net, sample) in nets.items():
        found = _found(bench, net, sample, (name, bench.count(PRUNINGS, 4)))
        error = found.error(found.predicted)
        say(f"  {name}: {error:.1f} % apart, rank {found.rank:.3f}, span {found.span:.1f}")
        say(f"    predicted {found.predicted}, measured {found.measured}")
        claims += [
            Claim(f"{name}, median error", error, "%", "≤", MEDIAN_ERROR),
            Claim(f"{name}, rank correlation", found.rank, "", "≥", RANK),
            Claim(f"{name}, slowest over fastest", found.span, "x", "≥", SPAN),
        ]
        details[name] = {
            "predicted": found.predicted, "measured": found.measured, "kernels": found.kernels,
            "median error of the estimate without a table, %": found.error(found.estimated),
        }  # fmt: skip
    notes = (
        "predicted: kernels timed one by one and added up, corrected between two networks that were measured: the "
        "whole one, and the same with 60 % less of every layer's products",
        "MobileNetV2 at 96×96 with random weights: the MobileNet that figure 6 of `bench quantize` trains takes 80 µs, "
        "most of it fixed, and spans less than 3× at any widths",
    )
    return Figure("predicted against measured latency", tuple(claims), 3 * PRUNINGS, details, notes)


def subnets(bench: Bench) -> Figure:
    """Fifty parts of ResNet-20, random widths and branches, predicted and measured."""
    task = post_training(bench)
    how = ("ResNet-20", bench.count(SUBNETS, 4))
    found = _found(bench, network(bench, RESNET20), task.calibrate[:2], how)
    claims = (
        Claim("rank correlation", found.rank, "", "≥", 0.97),
        Claim("median error", found.error(found.predicted), "%", "≤", MEDIAN_ERROR),
        Claim("slowest over fastest", found.span, "x", "≥", SPAN),
    )
    details = {
        "predicted": found.predicted, "measured": found.measured, "kernels": found.kernels,
        "median error of the estimate without a table, %": found.error(found.estimated),
    }  # fmt: skip
    return Figure(
        "predicted against measured time of subnets", claims, len(found.measured), details
    )


def _found(bench: Bench, net: nn.Module, sample: np.ndarray, how: tuple[str, int]) -> Found:
    """how: the network's name, and of how many random prunings."""
    import torch

    from netsuke.clock import LiveKernels
    from netsuke.devices import device
    from netsuke.nets.capture import capture
    from netsuke.passes.prune.local import Local
    from netsuke.runtimes.onnxruntime import OnnxRuntime

    here, (name, count) = device("local"), how
    model = capture(net.eval(), torch.from_numpy(sample), name)
    space, plans = _plans(model, here, count)
    middle = Local(space).descend(space.whole, (MIDDLE,))
    plans = [space.whole, middle, *plans]
    folder, runtime, table = bench.folder("latency"), OnnxRuntime(), LiveKernels(OnnxRuntime())
    files = {str(i): folder / f"{name}-{i}.onnx" for i in range(len(plans))}
    for path, plan in zip(files.values(), plans, strict=True):
        runtime.export(_pruned(model, space, plan), here, path)
    times = compare(files, "0", sample[:1], bench.count(4, 1))
    measured = [times["0"].seconds / times[number].ratio for number in files]
    predicted, estimated = (
        _between(_prices(model, here, tables, space, plans), measured) for tables in (table, None)
    )
    return Found(predicted, estimated, measured[2:], len(table.readings))


def _between(prices: list[float], measured: list[float]) -> list[float]:
    """Seconds of all but the references (the first two), by whose measured ÷ predicted the others are
    corrected: between them in proportion, beyond them by the nearer one's."""
    known = sorted((prices[i], measured[i] / prices[i]) for i in (0, 1))
    xs, ratios = (np.log([pair[side] for pair in known]) for side in (0, 1))
    rest = np.log(prices[2:])
    return [float(x) for x in np.exp(rest + np.interp(rest, xs, ratios))]


def _plans(model: Model, here: Device, count: int) -> tuple[Space, list[Plan]]:
    """Random widths and branches, spread over the multiply-accumulates that are left."""
    from netsuke.nets.channels.rehearsal import parts
    from netsuke.passes.prune.prices import Prices
    from netsuke.passes.prune.space import Space

    found, draw = parts(model), random.Random(SEED)
    prices = (Prices(model, found.groups, here, "macs"),)
    space = Space(found, (*found.groups, *found.branches), prices)
    plans = []
    for i in range(count):
        plan, left = space.whole, list(space.free)
        target = WIDEST * (NARROWEST / WIDEST) ** (i / max(1, count - 1))
        while left and space.shares(plan)[0] > target:
            part = draw.choice(left)
            lower = space.below(plan, part)
            if lower is None:
                left.remove(part)
            else:
                plan = lower
        plans.append(plan)
    return space, plans


def _pruned(model: Model, space: Space, plan: Plan) -> Model:
    from netsuke.passes.prune.choose import carved

    return model if plan == space.whole else replace(model, network=carved(model, space, plan))


def _prices(
    model: Model, here: Device, table: LiveKernels | None, space: Space, plans: list[Plan]
) -> list[float]:
    """Seconds of each plan, added up from its layers."""
    from netsuke.passes.prune.prices import Prices

    price = Prices(model, space.parts.groups, here, "seconds", table)
    return [price(space.keep(plan), plan.leaving) for plan in plans]
