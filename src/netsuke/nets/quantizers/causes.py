"""Why a layer loses quality under quantization, and what mends it: rules over measured facts. No torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from netsuke.nets.quantizers.diagnose import Facts

MATTERS = 0.05
"""A part with a smaller share of the harm is only reported where something is plainly broken."""
POOR_LEVELS = 16
"""A channel that uses fewer of the codes has lost four of eight bits."""
POOR_SHARE = 0.25
FEW_SAMPLES = 64
CLIPPED = 0.001
UNUSED = 16
Steps = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Finding:
    """A likely cause in one layer. remedy: in words; tries: recipes, each a tuple of passes with their
    settings, that would mend it, made from the settings of the run's own pass."""

    layer: str
    cause: str
    says: str
    remedy: str
    tries: tuple[Steps, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def findings(facts: Facts, step: Mapping[str, Any], samples: int) -> tuple[Finding, ...]:
    """The likely causes in one part. step: the pass that quantized it, ``{"use": …, **settings}``;
    samples: how many it was calibrated on."""
    found = [rule(facts, step) for rule in (_weights, _columns, _activations, _dead, _wide)]
    found.append(_clipped(facts, step, samples))
    if facts.share >= MATTERS and not any(found):
        found.append(_few_bits(facts, step))
    return tuple(f for f in found if f is not None)


def _weights(facts: Facts, step: Mapping[str, Any]) -> Finding | None:
    """One scale for channels of very different sizes."""
    if facts.weight_step is None:
        return None
    poor, single = _poor(facts.weights, facts.weight_step, facts.weight_bits)
    if not poor:
        return None
    what = (
        f"weights of {len(poor)} of {len(facts.weights)} channels share a scale with far larger ones"
        f" ({_times(facts.weights)} times the median) and use fewer than {POOR_LEVELS} of its codes"
    )
    if single:
        return Finding(
            facts.name, "outlier channel", f"channel {single[0]} dwarfs the rest: {what}",
            "one scale a channel for the weights", _tries(step, {"weights": "int8"}),
        )  # fmt: skip
    cause = "unbalanced channel ranges" if facts.depthwise else "wrong granularity"
    return Finding(
        facts.name, cause, what,
        "one scale a channel for the weights, or quantize.equalize before quantizing",
        (*_tries(step, {"weights": "int8"}), ({"use": "quantize.equalize"}, step)),
    )  # fmt: skip


def _columns(facts: Facts, step: Mapping[str, Any]) -> Finding | None:
    """Weights too small for their scale that read the channels with the largest values: what comes of
    a rescaling between two layers."""
    if facts.share < MATTERS or len(facts.columns) != len(facts.inputs):
        return None
    weighs = [w * x for w, x in zip(facts.columns, facts.inputs, strict=True)]
    least = min(POOR_LEVELS, 2 ** (facts.weight_bits - 1) / 4) * facts.column_step
    poor = [i for i, w in enumerate(facts.columns) if 0 < w < least]
    lost = sum(weighs[i] for i in poor) / (sum(weighs) or 1.0)
    if lost < MATTERS:
        return None
    named = f"channel {poor[0]}" if len(poor) == 1 else f"{len(poor)} of {len(weighs)} channels"
    return Finding(
        facts.name, "unbalanced channel ranges",
        f"weights that read {named} of its input use fewer than {POOR_LEVELS} codes, though"
        f" {lost:.0%} of what it sums comes from there",
        "quantize.equalize before quantizing", (({"use": "quantize.equalize"}, step),),
    )  # fmt: skip


def _activations(facts: Facts, step: Mapping[str, Any]) -> Finding | None:
    """One range for channels of very different sizes."""
    if facts.step is None:
        return None
    poor, single = _poor(facts.channels, facts.step, facts.activation_bits)
    if not poor:
        return None
    count = f"{len(poor)} of {len(facts.channels)} channels use fewer than {POOR_LEVELS} codes"
    if single:
        return Finding(
            facts.name, "outlier channel",
            f"channel {', '.join(map(str, single))} reaches {_times(facts.channels)} times the"
            f" median of the channels, so {count}",
            'clip it (estimator "percentile" or "mse"), or quantize.equalize before quantizing',
            (*_estimators(step), ({"use": "quantize.equalize"}, step)),
        )  # fmt: skip
    return Finding(
        facts.name, "unbalanced channel ranges",
        f"the largest channel reaches {_times(facts.channels)} times the median, and {count}",
        "quantize.equalize before quantizing", (({"use": "quantize.equalize"}, step),),
    )  # fmt: skip


def _dead(facts: Facts, step: Mapping[str, Any]) -> Finding | None:
    if facts.low == facts.high == 0:
        return Finding(
            facts.name, "dead range", "it gives nothing but zeros on these samples",
            "check the samples; if it is always so, prune.channels can take it out",
        )  # fmt: skip
    return None


def _wide(facts: Facts, step: Mapping[str, Any]) -> Finding | None:
    """A range far wider than the values."""
    if facts.encoded is None or facts.low == facts.high:
        return None
    share = (facts.high - facts.low) / max(facts.encoded[1] - facts.encoded[0], 1e-300)
    if share > 1 / UNUSED:
        return None
    return Finding(
        facts.name, "dead range",
        f"values here span {share:.1%} of the encoded range {_range(facts.encoded)}",
        'estimator "mse", and calibration samples without outliers', _estimators(step),
    )  # fmt: skip


def _clipped(facts: Facts, step: Mapping[str, Any], samples: int) -> Finding | None:
    """A range narrower than the values: more noise comes from clipping than from rounding."""
    if facts.encoded is None or facts.saturated < CLIPPED or facts.clipping < 0.5:
        return None
    what = (
        f"{facts.saturated:.2%} of the values ({facts.low:.3g} … {facts.high:.3g}) lie beyond the"
        f" range {_range(facts.encoded)}"
    )
    if samples < FEW_SAMPLES:
        return Finding(
            facts.name, "too few calibration samples", f"{what}, found on {samples} samples",
            "more calibration samples (samples=500)", _tries(step, {"samples": 500}),
        )  # fmt: skip
    return Finding(
        facts.name, "clipped range", what,
        'a wider range (estimator "minmax" or "average"), or samples more like these',
        _tries(step, {"estimator": "minmax"}),
    )  # fmt: skip


def _few_bits(facts: Facts, step: Mapping[str, Any]) -> Finding | None:
    bits = min(facts.weight_bits, facts.activation_bits)
    if bits >= 8:
        return None
    mixed = {"use": "quantize.mixed", "cost": "bits", "limit": float(facts.weight_bits)}
    if step.get("use") == mixed["use"]:
        mixed = {**step, "limit": step["limit"] * 4 / 3}
    return Finding(
        facts.name, "too few bits",
        f"nothing is wrong with its ranges: it suffers from having {bits} bits",
        'bits where they matter (quantize.mixed), rounding="gptq", or retraining (quantize.qat)',
        ((mixed,), *_tries(step, {"rounding": "gptq"})),
    )  # fmt: skip


def _poor(
    reach: tuple[float, ...], step: float, bits: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(channels that use few codes because others are large, the few that are to blame if few)."""
    live = {i: r for i, r in enumerate(reach) if r > 0}
    least = min(POOR_LEVELS, 2 ** (bits - 1) / 4) * step
    poor = tuple(i for i, r in live.items() if r < least)
    if len(live) < 2 or len(poor) < POOR_SHARE * len(live):
        return (), ()
    largest = sorted(live, key=lambda i: -live[i])
    few = largest[: max(1, len(live) // 20)]
    rest = [r for i, r in live.items() if i not in few]
    alone = max(rest) < 0.1 * live[largest[0]]
    return poor, tuple(few) if alone else ()


def _times(reach: tuple[float, ...]) -> str:
    live = [r for r in reach if r > 0]
    return f"{max(live) / median(live):,.0f}"


def _range(encoded: tuple[float, float]) -> str:
    return f"{encoded[0]:.3g} … {encoded[1]:.3g}"


def _estimators(step: Mapping[str, Any]) -> tuple[Steps, ...]:
    return tuple(
        each for e in ("mse", "percentile") if e != step.get("estimator")
        for each in _tries(step, {"estimator": e})
    )  # fmt: skip


def _tries(step: Mapping[str, Any], change: Mapping[str, Any]) -> tuple[Steps, ...]:
    """The run's own pass with other settings, where it has them."""
    known = set(change) <= set(step) and any(step[k] != v for k, v in change.items())
    return (({**step, **change},),) if known else ()
