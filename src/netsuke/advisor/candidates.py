"""Recipes that could be tried for a model on a device, the mildest first, by the rules that fired."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from netsuke.advisor import losses
from netsuke.advisor.facts import Facts
from netsuke.core.device import Device
from netsuke.core.footprint import file_bytes
from netsuke.core.guess import Guess
from netsuke.core.layer import Layer
from netsuke.core.passes import Pass
from netsuke.core.recipe import Recipe, make_pass
from netsuke.core.roofline import layer_seconds, warm

RATIOS = (0.3, 0.45, 0.6, 0.75)
EPOCHS, STEPS, BATCH = (6, 15), 4_500, 128
"""Of retraining: the fewest and the most epochs, and how many steps of how many samples there should be."""
RATE = 0.05
"""ResNet-20 with half of its bytes gone and INT8 lost 1.2 points at this rate (47 % gone) and 1.8 at 0.02 (50 %)."""
LEAN = 0.97
"""Share of a limit on bytes that a file should be expected to take."""
LEAST = 0.02
"""Share of the products that is left at least."""
EMPTY = 0.8
"""Share of the weights that leaves where kernels skip any zero."""
SEARCHED = 0.9
"""Share that leaves where no pruning is expected to do."""
Carve = Callable[[Layer], Layer]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A way to make all numbers shorter. words: what it is called in a reason."""

    use: str
    words: str
    weight_bits: int
    activation_bits: int
    loss: Guess
    format: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of(self, layer: Layer) -> Layer:
        """The layer with such numbers."""
        return replace(
            layer, weight_bits=self.weight_bits, activation_bits=self.activation_bits, format=self.format
        )  # fmt: skip

    def made(self) -> Pass:
        return make_pass(self.use, self.settings)


INT8 = Numbers(
    use="quantize.static", words="INT8", weight_bits=8, activation_bits=8, loss=losses.STATIC
)
HALVES = Numbers(
    use="quantize.static", words="INT8 with weights of 4 bits in the file", weight_bits=4, activation_bits=8,
    loss=losses.FOUR_BITS_IN_BYTES, settings={"weights": 4, "rounding": "gptq"},
)  # fmt: skip
FP16 = Numbers(
    use="quantize.float", words="FP16", weight_bits=16, activation_bits=16, format="fp16",
    loss=losses.HALF,
)  # fmt: skip
CODED = Numbers(
    use="quantize.weights", words="weights of 8 bits", weight_bits=8, activation_bits=32,
    loss=losses.EIGHT_BIT_WEIGHTS,
)  # fmt: skip
NIBBLES = Numbers(
    use="quantize.weights", words="weights of 4 bits, arithmetic as it was", weight_bits=4, activation_bits=32,
    loss=losses.FOUR_BIT_WEIGHTS, settings={"scheme": "int4g64"},
)  # fmt: skip
TRAINED = Numbers(
    use="quantize.qat", words="INT8 in training", weight_bits=8, activation_bits=8, loss=losses.TRAINED
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A recipe, and what it is taken to do. layers: after it. epochs: of training in all. carved: whether what
    leaves is more than bits, and so harder to foretell."""

    recipe: Recipe
    reason: str
    layers: tuple[Layer, ...]
    loss: Guess
    epochs: int = 0
    carved: bool = False


def candidates(facts: Facts, fired: frozenset[str]) -> tuple[Candidate, ...]:
    """What could be tried, in order. fired: the names of the rules."""
    numbers = _numbers(fired)
    kinds = [numbers]
    if numbers is INT8 and "halves_of_bytes_may_do" in fired:
        kinds.append(HALVES)
    found = [_shorter(facts, kind) for kind in kinds]
    # Elsewhere a runtime decodes the weights in every call, which takes longer than it saves.
    if "memory_bound" in fired and "int4" in facts.device.formats:
        found.append(_shorter(facts, NIBBLES))
    if "no_training_data" in fired or "tight_schedule" in fired:
        return tuple(found)
    if "little_tolerance_and_time" in fired and numbers is INT8:
        found.append(_shorter(facts, TRAINED))
    if "sparse_kernels" in fired:
        found.append(_emptier(facts, numbers))
    if "bytes_alone_are_short" in fired:
        narrower = [one for kind in reversed(kinds) for one in _lighter_ones(facts, kind)]
    else:
        narrower = [_narrower(facts, ratio, kind) for ratio in RATIOS for kind in kinds]
    if "no_carving_meets_it" in fired:
        narrower.append(_searched(facts, numbers))
    if "battery_and_patience" in fired:
        return (narrower[0], *found, *narrower[1:])
    return (*found, *narrower)


def _numbers(fired: frozenset[str]) -> Numbers:
    """What the device has kernels for."""
    if "no_integer_kernels" not in fired:
        return INT8
    return FP16 if "halves_without_integers" in fired else CODED


def _shorter(facts: Facts, numbers: Numbers) -> Candidate:
    """Bits alone."""
    trained = numbers is TRAINED
    words = "with the original as teacher: loses least" if trained else "after training alone: cheapest, and loses little"  # fmt: skip
    made = numbers.made()
    return Candidate(
        recipe=Recipe(made), reason=f"{numbers.words} {words}", loss=numbers.loss,
        layers=tuple(map(numbers.of, facts.layers)), epochs=_epochs(made),
    )  # fmt: skip


def _narrower(facts: Facts, ratio: float, numbers: Numbers) -> Candidate:
    """Channels, then bits. As much of the weights is asked for as of the time, so that both are known."""
    cut = make_pass("prune.channels", {"ratio": ratio, "parameters": ratio, **_retraining(facts)})
    # By time: fixed costs stay where layers only get narrower, so that more of the products leaves.
    left = min(1 - ratio, _share(facts, 1 - ratio))
    return Candidate(
        recipe=Recipe(cut, numbers.made()), carved=True, epochs=_epochs(cut),
        reason=f"{100 * ratio:.0f} % of the time and of the weights leave with channels, retrained with the original as "
        f"teacher, then {numbers.words}",
        layers=tuple(numbers.of(_carved(layer, left)) for layer in facts.layers),
        loss=losses.joined(losses.channels(ratio), numbers.loss),
    )  # fmt: skip


def _lighter_ones(facts: Facts, numbers: Numbers) -> list[Candidate]:
    """By bytes alone: as much as the limit asks; less, for quality may be dearer; and more, should that not do."""
    limit = LEAN * facts.limits["size"]
    every = [_lighter(facts, step / 40, numbers) for step in range(4, 37)]
    sizes = [file_bytes(one.layers) * facts.correction("size") for one in every]
    asked = next((i for i, size in enumerate(sizes) if size <= limit), len(every) - 1)
    around = sorted({max(asked - 6, 0), asked, asked + 4, asked + 8})
    return [every[i] for i in around if i < len(every)]


def _lighter(facts: Facts, ratio: float, numbers: Numbers) -> Candidate:
    """Channels by the bytes that leave with them, then bits."""
    cut = make_pass("prune.channels", {"ratio": ratio, "cost": "bytes", **_retraining(facts)})
    # Weights lie mostly where pictures are small, and few products leave with them.
    weights, products = 1 - ratio, 1 - ratio / 2
    return Candidate(
        recipe=Recipe(cut, numbers.made()), carved=True, epochs=_epochs(cut),
        reason=f"{100 * ratio:.0f} % of the weights' bytes leave with channels, where that costs least, retrained with the "
        f"original as teacher, then {numbers.words}",
        layers=tuple(numbers.of(_carved(layer, products, weights)) for layer in facts.layers),
        loss=losses.joined(losses.channels(ratio), numbers.loss),
    )  # fmt: skip


def _searched(facts: Facts, numbers: Numbers) -> Candidate:
    """A part of a supernet, then bits: for limits that no pruning of this network is expected to meet."""
    supernet = make_pass("search.supernet", {"epochs": 2 * _enough(facts)})
    subnet = make_pass("search.subnet", {"ratio": SEARCHED, "parameters": SEARCHED})
    left = min(1 - SEARCHED, _share(facts, 1 - SEARCHED))
    return Candidate(
        recipe=Recipe(supernet, subnet, numbers.made()), carved=True, epochs=_epochs(supernet),
        reason=f"the part of a supernet with {100 * (1 - SEARCHED):.0f} % of the time and of the weights, then "
        f"{numbers.words}",
        layers=tuple(numbers.of(_carved(layer, left)) for layer in facts.layers),
        loss=losses.joined(losses.channels(SEARCHED), numbers.loss),
    )  # fmt: skip


def _carved(layer: Layer, left: float, weights: float | None = None) -> Layer:
    """A layer with this share of its products, and of its weights where that is another: its width, and so its
    activations, go by the root."""
    width = left**0.5
    return replace(
        layer, weights=round(layer.weights * (left if weights is None else weights)), macs=round(layer.macs * left),
        inputs=round(layer.inputs * width), outputs=round(layer.outputs * width),
        alive=round(layer.alive * width),
    )  # fmt: skip


def _share(facts: Facts, wanted: float) -> float:
    """The share of the products at which this share of the layers' time is left, found by halving."""
    device = warm(facts.layers, facts.device)
    whole, low, high = _layers_seconds(facts.layers, device), 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        narrower = tuple(_carved(layer, middle) for layer in facts.layers)
        if _layers_seconds(narrower, device) <= wanted * whole:
            low = middle
        else:
            high = middle
    return max(low, LEAST)


def _layers_seconds(layers: tuple[Layer, ...], device: Device) -> float:
    """Of the layers alone: what a call costs does not leave with channels, and is not asked for."""
    return sum(layer_seconds(layer, device) for layer in layers)


def _emptier(facts: Facts, numbers: Numbers) -> Candidate:
    """Zeros in the pattern that the device's kernels skip, then bits."""
    pattern = facts.device.sparse[0]
    share = EMPTY if pattern == "free" else 1 - int(pattern[0]) / int(pattern[2:])
    settings = {"sparsity": share} if pattern == "free" else {"pattern": pattern}
    cut = make_pass("prune.weights", {**settings, "epochs": _enough(facts)})
    return Candidate(
        recipe=Recipe(cut, numbers.made()), epochs=_epochs(cut),
        reason=f"{100 * share:.0f} % of the weights become zeros that {facts.device.name} skips, then {numbers.words}",
        layers=tuple(
            numbers.of(replace(n, macs=round(n.macs * (1 - share)))) for n in facts.layers
        ),
        loss=losses.joined(losses.ZEROS, numbers.loss),
    )  # fmt: skip


def _retraining(facts: Facts) -> dict[str, Any]:
    """Of what was cut: long enough, and where there are convolutions at the higher rate that they stand."""
    rate = {"lr": RATE} if any(layer.op.startswith("conv") for layer in facts.layers) else {}
    return {"epochs": _enough(facts), **rate}


def _enough(facts: Facts) -> int:
    """Epochs of retraining: what was cut recovers over steps, and few samples make few steps an epoch."""
    train = facts.goal.data.train
    samples = 0 if train is None else len(train)
    return min(EPOCHS[1], max(EPOCHS[0], -(-STEPS * BATCH // max(1, samples))))


def _epochs(made: Pass) -> int:
    return int(made.settings().get("epochs", 0))
