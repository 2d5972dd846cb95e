"""Proposes recipes from the limits and facts about the model, its use and the device.

The mildest first: shorter numbers alone where they are expected to meet the limits, for they are the
cheapest and cost the least quality. With training data and a tighter limit, channels are pruned first,
30 % to begin with, retrained with the original as teacher, and then the numbers are made shorter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from netsuke.advisor.advice import Advice, Proposal
from netsuke.advisor.applications import Use
from netsuke.advisor.facts import UNITS, WORDS, Facts
from netsuke.advisor.rules import Finding, findings
from netsuke.core.errors import NetsukeError
from netsuke.core.footprint import file_bytes, memory_bytes
from netsuke.core.goal import Goal
from netsuke.core.layer import Layer
from netsuke.core.quantity import show
from netsuke.core.recipe import Recipe, make_pass
from netsuke.core.roofline import model_seconds
from netsuke.probes.estimate import SPREAD

RATIOS = (0.3, 0.45, 0.6, 0.75)
LEAST_FILE = 100
"""Bytes of an ONNX file of one operation without weights."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A way to make all numbers shorter. words: what it is called in a reason."""

    use: str
    words: str
    weight_bits: int
    activation_bits: int
    format: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of(self, layer: Layer) -> Layer:
        """The layer with such numbers."""
        return replace(
            layer, weight_bits=self.weight_bits, activation_bits=self.activation_bits, format=self.format
        )  # fmt: skip


INT8 = Numbers(use="quantize.static", words="INT8", weight_bits=8, activation_bits=8)
FP16 = Numbers(
    use="quantize.float", words="FP16", weight_bits=16, activation_bits=16, format="fp16"
)
CODED = Numbers(
    use="quantize.weights", words="weights of 8 bits", weight_bits=8, activation_bits=32
)
TRAINED = Numbers(use="quantize.qat", words="INT8 in training", weight_bits=8, activation_bits=8)


def propose(
    layers: tuple[Layer, ...], goal: Goal, use: Use | None = None, gap: float | None = None
) -> Advice:
    """Recipes for a model with these layers (as captured, FP32), best first.

    gap: quality on training samples less that on others. Raises NetsukeError for a limit below what
    any model takes on the device.
    """
    use = use or Use()
    facts = Facts(layers=layers, goal=goal, application=use.application, hours=use.hours, gap=gap)
    _check_floors(facts)
    fired = findings(facts)
    options = _options(facts, fired)
    fitting = [o for o in options if not _misses(o, goal)]
    # Where nothing is expected to fit, the estimates may still be wrong: try from the mildest.
    first = options.index(fitting[0]) if fitting else 0
    later = options[first:]
    return Advice(
        proposals=(*[o for o in later if o in fitting], *[o for o in later if o not in fitting]),
        reasons=tuple(_reasons(layers, goal, options[first])),
        ruled_out=tuple(_ruled_out(options, later, goal)),
        findings=fired,
    )


def _check_floors(facts: Facts) -> None:
    floors = {
        "size": (LEAST_FILE, "an ONNX file of one operation without weights"),
        "latency_p95": (facts.device.overhead, "the call of one operation there"),
        "memory": (memory_bytes((), facts.device) / SPREAD, "a runtime's session without weights"),
    }
    for what, limit in facts.goal.budget.limits().items():
        floor, why = floors.get(what, (0.0, ""))
        if limit < floor:
            raise NetsukeError(
                f"budget {what}: {show(limit, UNITS[what])} for {WORDS[what]} on {facts.device.name} cannot be "
                f"met: {why} takes {show(floor, UNITS[what])}"
            )


def _options(facts: Facts, fired: tuple[Finding, ...]) -> list[Proposal]:
    """What could be tried, the mildest first."""
    names = {found.rule for found in fired}
    numbers = INT8
    if "no_integer_kernels" in names:
        numbers = FP16 if "halves_without_integers" in names else CODED
    found = [_option(facts, 0.0, numbers)]
    if any(one.technique == "post-training" for one in fired):
        return found
    if "little_tolerance_and_time" in names and numbers is INT8:
        found.append(_option(facts, 0.0, TRAINED))
    return found + [_option(facts, ratio, numbers) for ratio in RATIOS]


def _option(facts: Facts, ratio: float, numbers: Numbers) -> Proposal:
    """One proposal. Removing ``ratio`` of the time is taken to remove as much of the weights."""
    passes = [make_pass("prune.channels", {"ratio": ratio})] if ratio else []
    passes.append(make_pass(numbers.use, numbers.settings))
    kept = tuple(
        replace(numbers.of(layer), weights=round(layer.weights * (1 - ratio)))
        for layer in facts.layers
    )
    seconds = model_seconds(kept, facts.device) * (1 - ratio)
    alone = "with the original as teacher: loses least" if numbers is TRAINED else "after training alone: cheapest, and loses little"  # fmt: skip
    reason = (
        f"{100 * ratio:.0f} % of the time leaves with channels, retrained with the original as teacher, then {numbers.words}"
        if ratio
        else f"{numbers.words} {alone}"
    )
    return Proposal(recipe=Recipe(*passes), reason=reason, size=file_bytes(kept), seconds=seconds)


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


def _ruled_out(options: list[Proposal], kept: list[Proposal], goal: Goal) -> list[str]:
    return [f"{o.reason}: {'; '.join(_misses(o, goal))}" for o in options if o not in kept]
