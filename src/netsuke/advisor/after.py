"""What to try after a run that missed its limits: its record says why it missed them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from netsuke.advisor.facts import WORDS
from netsuke.advisor.rules.hardware import GAIN
from netsuke.advisor.rules.rule import Finding, Technique
from netsuke.core.quantity import show

NARROW = 0.5
"""Share of the layers from which narrow ones are what slows integers down."""


@dataclass(frozen=True)
class Miss:
    """A record of a run, as the rules below look at it."""

    record: Mapping[str, Any]

    @cached_property
    def missed(self) -> dict[str, Mapping[str, Any]]:
        """The verdict on each limit that was missed, by the limit's name."""
        return {
            v["evidence"][0]["what"]: v
            for v in self.record["verdicts"]
            if v["outcome"] == "fail" and v["evidence"]
        }

    def steps(self, technique: str, outcome: str) -> list[Mapping[str, Any]]:
        """Steps of passes of this technique that ended so, of what led to the final state where kept."""
        return [
            s for s in self.record["steps"]
            if s["name"].startswith(technique) and s["outcome"] == outcome
            and (s["final"] or outcome != "kept")
        ]  # fmt: skip

    @staticmethod
    def figure(step: Mapping[str, Any], what: str) -> float | None:
        """What a step's evidence says."""
        return next((e["value"] for e in step["evidence"] if e["what"] == what), None)


def after(record: Mapping[str, Any]) -> tuple[Finding, ...]:
    """What to try next, each with the figure it rests on; nothing after a run that passed."""
    if record["verdict"]["outcome"] != "fail":
        return ()
    miss = Miss(record)
    return tuple(
        Finding(rule=rule.__name__, technique=technique, stance="for", why=why, source=source)
        for rule, technique, source in RULES
        for why in rule(miss)
    )


def too_large_after_quantization(miss: Miss) -> Iterator[str]:
    """Bits alone were tried: channels are what is left to take."""
    if miss.steps("quantize", "kept") and not miss.steps("prune", "kept"):
        for what in ("memory", "size", "latency_p95", "energy"):
            if what in miss.missed:
                yield f"{WORDS[what]} is over its limit after quantization ({miss.missed[what]['reason']}): let channels leave before it"


def quality_lost_by_pruning(miss: Miss) -> Iterator[str]:
    """A step that was undone for what it lost may lose less when it is trained longer, or rounded in training."""
    for step in miss.steps("prune", "undone"):
        drop = miss.figure(step, "drop")
        if drop is not None and drop > miss.record["budget"].get("drop", 0.01):
            yield f"{step['name']} was undone for {show(drop, 'pt').lstrip('+')} of quality: retrain longer from the original as teacher, or take less at a time (steps)"


def quality_lost_by_rounding(miss: Miss) -> Iterator[str]:
    """Rounding after training lost too much: train with it."""
    for step in (*miss.steps("quantize.static", "undone"), *miss.steps("quantize.static", "kept")):
        drop = miss.figure(step, "drop")
        if drop is not None and drop > miss.record["budget"].get("drop", 0.01):
            yield f"rounding after training lost {show(drop, 'pt').lstrip('+')}: train with it (quantize.qat); netsuke explain names the layers"


def slower_by_integers(miss: Miss) -> Iterator[str]:
    """INT8 that is slower than FP32: the processor, what stayed float, or narrow layers."""
    for step in (*miss.steps("quantize", "undone"), *miss.steps("quantize", "kept")):
        faster = miss.figure(step, "step_speedup")
        if faster is not None and faster < 1:
            yield f"{step['name']} is {1 / faster:.2f}× slower than what it replaced: {_why_slower(miss, step)}"


def _why_slower(miss: Miss, step: Mapping[str, Any]) -> str:
    device = miss.record["device"]
    rates, width = device["formats"], device["kernel_width"]
    if rates.get("int8", 0.0) < GAIN * rates["fp32"]:
        return f"{device['name']} multiplies integers no faster than floats: take FP16, or a device with dot products"
    left = step.get("findings") or ()
    if left:
        return f"{left[0]} ({len(left)} in all): exchange what stays float between integers, or take another runtime"
    layers = [n for n in step["layers"] or () if n["macs"] and n["channels"][1]]
    narrow = [n for n in layers if n["channels"][1] % width]
    if len(narrow) > NARROW * len(layers):
        return f"{len(narrow)} of {len(layers)} layers have widths that are no multiple of {width}: prune by time, which keeps to them"
    return "its calls take longer than its arithmetic: fewer nodes, or leave it FP32"


RULES: tuple[tuple[Callable[[Miss], Iterator[str]], Technique, str], ...] = (
    (too_large_after_quantization, "structured pruning", "Han et al., 2016, Deep compression"),
    (quality_lost_by_pruning, "distillation", "Hinton et al., 2015; Renda et al., 2020, Comparing rewinding and fine-tuning"),
    (quality_lost_by_rounding, "quantization-aware training", "Nagel et al., 2021, A white paper on neural network quantization"),
    (slower_by_integers, "quantization", "the step's own timing"),
)  # fmt: skip
