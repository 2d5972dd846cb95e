"""Rules from the device: which numbers and which zeros its kernels are made for."""

from netsuke.advisor.facts import Facts
from netsuke.advisor.rules.rule import rule

GAIN = 1.1
"""A format that is not this much faster buys bytes, not time."""
MOST = 0.5
"""A bound that holds for this share of the time decides."""
CALLS = 0.3
"""Where calls alone take this share, what leaves must be whole nodes."""


@rule("quantization", "for", "the device's file, formats")
def integer_kernels(facts: Facts) -> str | None:
    """Low-precision hardware wants integers; which width, its rates say."""
    rates = facts.device.formats
    widths = {name: rates[name] / rates["fp32"] for name in ("int8", "int4") if name in rates}
    best = max(widths, key=lambda name: (widths[name], name == "int8"), default=None)
    if best is None or widths[best] < GAIN:
        return None
    return f"{facts.device.name} multiplies {best.upper()} {widths[best]:.1f}× as fast as FP32: {best[3:]} bits"


@rule("quantization", "for", "the device's file, fallback")
def floats_run_elsewhere(facts: Facts) -> str | None:
    """An accelerator without floats leaves them to the processor beside it."""
    if "fp32" not in facts.device.fallback:
        return None
    return f"{facts.device.name} has no FP32: what stays float runs on the processor beside it"


@rule("quantization", "against", "the device's file, formats")
def no_integer_kernels(facts: Facts) -> str | None:
    """Integers without kernels for them are computed as floats."""
    rates = facts.device.formats
    if "int8" in rates and rates["int8"] >= GAIN * rates["fp32"]:
        return None
    rate = f"{rates['int8'] / rates['fp32']:.2f}× FP32's rate" if "int8" in rates else "no kernels"
    return f"{facts.device.name} has {rate} for INT8: it buys bytes, not time"


@rule("fp16", "for", "Micikevicius et al., 2018, Mixed precision training")
def halves_without_integers(facts: Facts) -> str | None:
    """FP16 where there are kernels for it and none for integers."""
    rates = facts.device.formats
    if (
        "fp16" not in rates
        or rates["fp16"] < GAIN * rates["fp32"]
        or rates.get("int8", 0) > rates["fp16"]
    ):
        return None
    return f"{facts.device.name} multiplies FP16 {rates['fp16'] / rates['fp32']:.1f}× as fast as FP32, and integers no faster"


@rule("weight-only quantization", "for", "Lin et al., 2024, AWQ; Williams et al., 2009, Roofline")
def memory_bound(facts: Facts) -> str | None:
    """Where bytes are waited for, weights of fewer bits shorten the wait, whatever the arithmetic."""
    share = facts.bound.get("memory", 0.0)
    if share < MOST:
        return None
    return f"{100 * share:.0f} % of the time waits for memory: fewer bits of weights shorten it, whatever computes"


@rule(
    "structured pruning",
    "for",
    "the device's file, unit; Wen et al., 2016, Learning structured sparsity",
)
def matrix_units(facts: Facts) -> str | None:
    """Dense matrix units gain from matrices that are smaller, not emptier."""
    if facts.device.unit != "matrix" or facts.device.sparse:
        return None
    return f"{facts.device.name} multiplies whole matrices: smaller ones are faster, emptier ones are not"


@rule(
    "unstructured pruning", "for", "Mishra et al., 2021, Accelerating sparse deep neural networks"
)
def sparse_kernels(facts: Facts) -> str | None:
    """Zeros are time where kernels skip them."""
    if not facts.device.sparse:
        return None
    return f"{facts.device.name} skips zeros in the pattern {', '.join(facts.device.sparse)}"


@rule("unstructured pruning", "against", "the device's file, sparse")
def no_sparse_kernels(facts: Facts) -> str | None:
    """Elsewhere zeros are stored bytes alone."""
    if facts.device.sparse:
        return None
    return f"{facts.device.name} multiplies by zeros as by any other number: they buy stored bytes alone"


@rule("structured pruning", "for", "Amdahl, 1967; the device's file, overhead")
def calls_cost_most(facts: Facts) -> str | None:
    """Narrower layers are called as often: whole blocks must leave."""
    share = facts.bound.get("call", 0.0)
    if share < CALLS:
        return None
    return f"{100 * share:.0f} % of the time is the fixed cost of calls: only whole blocks that leave shorten it"


RULES = (
    integer_kernels, floats_run_elsewhere, no_integer_kernels, halves_without_integers, memory_bound, matrix_units,
    sparse_kernels, no_sparse_kernels, calls_cost_most,
)  # fmt: skip
