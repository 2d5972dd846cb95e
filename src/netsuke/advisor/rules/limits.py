"""Rules from the limits: which is short, and what is short alone."""

from netsuke.advisor.facts import WORDS, Facts
from netsuke.advisor.rules.rule import rule

FOUR = 4.0
"""FP32 over INT8, in bytes."""


@rule(
    "quantization",
    "for",
    "Jacob et al., 2018, Quantization and training of neural networks for integer-arithmetic-only inference",
)
def speed_is_short(facts: Facts) -> str | None:
    """Fewer bits shorten arithmetic and traffic alike, and cost the least quality."""
    if facts.over("latency_p95") <= 1:
        return None
    return (
        f"{facts.said('latency_p95')}: quantization first, it shortens arithmetic and traffic alike"
    )


@rule("structured pruning", "for", "Li et al., 2017, Pruning filters for efficient convnets")
def memory_is_short(facts: Facts) -> str | None:
    """Channels that leave take their activations with them."""
    if facts.over("memory") <= 1:
        return None
    return f"{facts.said('memory')}: channels that leave take weights and activations with them"


@rule("quantization", "for", "Han et al., 2016, Deep compression")
def storage_alone_is_short(facts: Facts) -> str | None:
    """Storage short, memory not: bits suffice where they suffice."""
    if facts.over("size") <= 1 or facts.over("memory") > 1 or facts.over("size") > FOUR:
        return None
    return f"{facts.said('size')} and memory suffices: {facts.over('size'):.1f}× smaller is within what 8 bits give"


@rule("structured pruning", "for", "Han et al., 2016, Deep compression; Li et al., 2017")
def more_than_bits_is_short(facts: Facts) -> str | None:
    """Where 8 bits are not enough, 30 % leaves first, then bits, each checked before the next."""
    still = _over_at_eight_bits(facts)
    if not still:
        return None
    over = max(facts.integers[what] / facts.limits[what] for what in still)
    names = " and ".join(WORDS[what] for what in still)
    return f"{names}: {over:.1f}× over the limit even at 8 bits: 30 % of the channels leave first, then bits, each step checked"


@rule(
    "structured pruning",
    "for",
    "Blalock et al., 2020, What is the state of neural network pruning?",
)
def bytes_alone_are_short(facts: Facts) -> str | None:
    """Where the file alone is over its limit at 8 bits, channels leave by their bytes: those that take time and
    few bytes may stay, and quality with them."""
    if _over_at_eight_bits(facts) != ["size"]:
        return None
    return f"{_said_at_eight_bits(facts)} over, and nothing else is: channels leave by the bytes that leave with them"


@rule(
    "quantization",
    "for",
    "Frantar et al., 2023, GPTQ; bench advise, figure 2",
)
def halves_of_bytes_may_do(facts: Facts) -> str | None:
    """Where the file is over its limit at 8 bits and integer kernels read bytes: weights of 4 bits take half of the
    file, are turned into bytes once, at load, and run as fast."""
    if "size" not in _over_at_eight_bits(facts) or "onnxruntime" not in facts.device.runtimes:
        return None
    return f"{_said_at_eight_bits(facts)} over: weights of 4 bits halve the file, and are bytes again at load"


@rule("structured pruning", "for", "Horowitz, 2014, Computing's energy problem")
def energy_is_short(facts: Facts) -> str | None:
    """Energy goes with the multiply-accumulates and the bytes: those that leave take none."""
    if "energy" not in facts.needs or facts.over("energy") <= 1:
        return None
    return f"{facts.said('energy')}: work that leaves takes no energy"


def _said_at_eight_bits(facts: Facts) -> str:
    over = facts.integers["size"] / facts.limits["size"]
    return f"{facts.said('size')}; at 8 bits it is {over:.1f}×"


def _over_at_eight_bits(facts: Facts) -> list[str]:
    return [what for what in facts.needs if facts.integers[what] > facts.limits[what]]


RULES = (
    speed_is_short, memory_is_short, storage_alone_is_short, more_than_bits_is_short,
    bytes_alone_are_short, halves_of_bytes_may_do, energy_is_short,
)  # fmt: skip
