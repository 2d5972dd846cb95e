"""Weights and activations in narrower floats."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from torch.fx import GraphModule

from netsuke.core.device import Device
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.core.scheme import parse
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizers.activations import activations
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.place import Plan, place
from netsuke.nets.quantizers.ranges import Estimator, Ranges
from netsuke.nets.quantizers.roles import op
from netsuke.nets.quantizers.weights import quantize_weights, weights
from netsuke.nets.samples import Calibration
from netsuke.passes.quantize.reasons import quantized
from netsuke.passes.quantize.weights import FLOAT, coded_bytes, weight_of

Format = Literal["fp16", "bf16", "e4m3", "e5m2"]
WIDER: dict[str, tuple[Format, ...]] = {
    "e5m2": ("e4m3", "bf16"), "e4m3": ("fp16",), "bf16": ("fp16",), "fp16": ("bf16",),
}  # fmt: skip
"""What to try where a format lost too much: more mantissa, or where that is not it, more exponent."""


@dataclass(frozen=True, kw_only=True)
class Floats(Pass):
    """Weights and activations as floats of 16 or 8 bits (IEEE 754 half, bfloat16; Micikevicius et al.,
    2022), for hardware that computes with them; sums are of 32 bits.

    scheme: of weights, embeddings too; 8-bit floats have a scale a channel. activations: of what layers
    read and write, 8-bit floats with one scale a tensor; "fp32" leaves them. estimator, samples: as in
    ``quantize.static``, for the scales of 8-bit floats; fp16 is only checked to hold the values.
    """

    name: ClassVar[str] = "quantize.float"

    scheme: Format = "fp16"
    activations: Literal["fp32", "fp16", "bf16", "e4m3", "e5m2"] = "fp16"
    estimator: Estimator = "mse"
    samples: Annotated[int, Range(1, 100_000)] = 500

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where it is done already, or neither bytes nor time would be won."""
        if reason := quantized(model):
            return reason
        network = fold_batchnorm(model.network)
        sizes = {name: FLOAT * weight_of(network, name).numel() for name in weights(network)}
        if not sizes:
            return "no layer has a weight that is not coded already"
        before, scheme = sum(sizes.values()), parse(self.scheme)
        after = sum(coded_bytes(network, name, scheme) for name in sizes)
        if after >= before and not self._computed(goal.device):
            return (
                f"{goal.device.title} has no {self._said()} arithmetic, and {before:,} bytes of weights"
                f" would become {after:,.0f}"
            )
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError naming a weight that holds NaN, or a layer with values that fp16 cannot
        hold; where calibration data is missing, or NaN or infinite."""
        seen: tuple[str, ...] = ()
        network = fold_batchnorm(model.network)
        counted = Counter(op(readers[0]) for readers in weights(network).values())
        if self.activations != "fp32":
            network, seen = self._rounded(model, goal)
        network = quantize_weights(network, dict.fromkeys(weights(network), parse(self.scheme)))
        kinds = ", ".join(f"{n} {kind}" for kind, n in counted.items())
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"weights {self.scheme}, activations {self.activations}: {kinds}",
            notes=(*seen, *self._buys(goal.device)),
        )
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Formats that hold more, of both; then activations as they were."""
        if self.activations == "fp32":
            return tuple(replace(self, scheme=f) for f in WIDER[self.scheme])
        both = (replace(self, scheme=f, activations=f) for f in WIDER[self.scheme])
        return (*both, replace(self, activations="fp32"))

    def _rounded(self, model: Model, goal: Goal) -> tuple[GraphModule, tuple[str, ...]]:
        """The network with every activation that a layer reads or writes rounded, and what was seen."""
        scheme = replace(parse(self.activations), axis=-1)
        network = place(model.network, model.example, Plan(parse(self.scheme), scheme))
        samples = Calibration(model, goal, self.samples)
        calibrate(network, goal.track(samples, "calibrating"), Ranges(self.estimator))
        count = len({a.key for a in activations(network)})
        how = f"ranges: {self.estimator}" if scheme.bits == 8 else "checked"
        return network, (f"{count} activations {how} on at most {self.samples} samples",)

    def _computed(self, device: Device) -> bool:
        """Whether the device has arithmetic for both factors."""
        return {self.scheme, self.activations} <= {*device.formats}

    def _said(self) -> str:
        return " · ".join(dict.fromkeys((self.scheme, self.activations)))

    def _buys(self, device: Device) -> tuple[str, ...]:
        """What is won, by the device's facts and by what a stock runtime does."""
        stock = (
            "on onnxruntime's CPU kernels it buys bytes of the file, not time: weights are turned into"
            " floats at load"
        )
        if self.activations != "fp32":
            stock += ", and casts round activations at each call, which costs time"
        has = "has" if self._computed(device) else "has no"
        return (stock, f"{device.title} {has} {self._said()} arithmetic")
