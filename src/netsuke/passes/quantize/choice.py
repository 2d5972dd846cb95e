"""Which layer gets how many bits: sensitivities measured, shared out, and checked together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.distillation.losses import soft_loss
from netsuke.nets.evaluation import evaluate
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizers.allocate import Matrix, allocate
from netsuke.nets.quantizers.sensitivity import Outputs, Rounded, Site, hessian_traces, sites

Sensitivity = Literal["divergence", "sqnr", "hessian", "metric"]
FLOAT = 32
WORST = 1e30
JUDGED = 1000
"""Validation samples at most for each point of a curve, and for each layer of the metric's drop."""


@dataclass(frozen=True)
class Chosen:
    """Bits of each weight by its name. harm: what they do together; start: before they were refined."""

    bits: Mapping[str, int]
    harm: float
    start: float


class Chooser:
    """Measures a float model's layers on some inputs, and shares out bits among them."""

    def __init__(
        self, model: Model, goal: Goal, inputs: Sequence[tuple[Tensor, ...]], method: Sensitivity
    ) -> None:
        self.sites: tuple[Site, ...] = sites(model)
        self._rounded = Rounded(fold_batchnorm(model.network))
        self._outputs = Outputs(self._rounded, inputs)
        self._goal, self._method = goal, method
        self._loss = soft_loss(goal.data, 1.0)
        self._traces: dict[str, float] = {}
        if method == "hessian":
            names = [s.weight for s in self.sites]
            self._traces = hessian_traces(
                self._rounded.network, names, inputs, self._loss, seed=goal.seed
            )

    @property
    def elements(self) -> int:
        return sum(s.elements for s in self.sites)

    def mean(self, bits: Mapping[str, int]) -> float:
        """Bits a weight on average."""
        return sum(s.elements * bits[s.weight] for s in self.sites) / self.elements

    def harms(self, choices: Sequence[int]) -> Matrix:
        """What each layer does alone at each number of bits, (layers, choices); 0 in float."""
        rows = self._goal.track(self.sites, "sensitivity of each layer")
        found = np.array([[self._alone(s, bits) for bits in choices] for s in rows])
        # Outputs that overflow are as bad as can be, and JSON holds no infinity.
        return np.nan_to_num(found, nan=WORST, posinf=WORST)

    def choose(self, harms: Matrix, costs: Matrix, choices: Sequence[int], limit: float) -> Chosen:
        """The least sum of the layers' harms within the limit."""
        picked = allocate(harms, costs, limit)
        bits = {s.weight: choices[i] for s, i in zip(self.sites, picked, strict=True)}
        harm = self._together(bits)
        return Chosen(bits, harm, harm)

    def refine(
        self, chosen: Chosen, costs: Matrix, choices: Sequence[int], limit: float
    ) -> Chosen | None:
        """A choice that does less harm, found by measuring a step up or down in each layer with all the
        others as chosen; None where there is none.

        Harms measured with the rest in float add up only while layers do not disturb one another.
        """
        harms = np.full((len(self.sites), len(choices)), np.inf)
        for row, site in enumerate(self._goal.track(self.sites, "what layers do to one another")):
            now = choices.index(chosen.bits[site.weight])
            for i in range(max(0, now - 1), min(len(choices), now + 2)):
                tried = {**chosen.bits, site.weight: choices[i]}
                harms[row, i] = 0.0 if i == now else self._together(tried) - chosen.harm
        better = self.choose(harms, costs, choices, limit)
        return Chosen(better.bits, better.harm, chosen.start) if better.harm < chosen.harm else None

    def quality(self, bits: Mapping[str, int]) -> float:
        """The metric on validation samples, weights rounded to the nearest, activations in float."""
        data = self._goal.data
        return evaluate(self._rounded.at(bits), data.validate, data.metric, JUDGED)

    def uniform(self, bits: int) -> dict[str, int]:
        """Every weight at the same bits."""
        return {s.weight: bits for s in self.sites}

    def rows(
        self, chosen: Mapping[str, int], harms: Matrix, choices: Sequence[int]
    ) -> list[dict[str, Any]]:
        """The layers as a table: what each costs, what it does at each width, what it got."""
        return [
            {
                "layer": s.layer, "weight": s.weight, "elements": s.elements, "macs": s.macs,
                "bits": chosen[s.weight],
                "harms": {str(b): float(h) for b, h in zip(choices, row, strict=True)},
            }
            for s, row in zip(self.sites, harms, strict=True)
        ]  # fmt: skip

    def _alone(self, site: Site, bits: int) -> float:
        if bits == FLOAT:
            return 0.0
        if self._method == "hessian":
            noise = self._rounded.noise(site.weight, bits)
            return 0.5 * self._traces[site.weight] / site.elements * noise
        return self._together({site.weight: bits})

    def _together(self, bits: Mapping[str, int]) -> float:
        """What these bits do at once; the Hessian says it of single layers only."""
        if self._method == "sqnr":
            return self._outputs.noise(bits)
        if self._method == "metric":
            return self._goal.data.metric.drop(self.quality({}), self.quality(bits))
        return self._outputs.divergence(bits, self._loss)


def curve(
    chooser: Chooser, harms: Matrix, choices: Sequence[int], means: Iterable[float]
) -> list[dict[str, Any]]:
    """Bytes against quality: at each mean of bits the mixed choice, then every width for all layers."""
    costs = np.array([[s.elements * b for b in choices] for s in chooser.sites], float)
    tried = []
    for mean in means:
        picked = allocate(harms, costs, mean * chooser.elements)
        tried.append({s.weight: choices[i] for s, i in zip(chooser.sites, picked, strict=True)})
    each = [(bits, False) for bits in tried] + [(chooser.uniform(b), True) for b in choices]
    return [
        {
            "bits": chooser.mean(bits),
            "bytes": chooser.mean(bits) * chooser.elements / 8,
            "quality": chooser.quality(bits),
            "uniform": uniform,
        }
        for bits, uniform in each
    ]
