"""Post-training INT8."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.core.scheme import Uniform
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.correct import Correction
from netsuke.nets.quantizers.place import Plan, left_float, place
from netsuke.nets.quantizers.quantizer import quantizers
from netsuke.nets.quantizers.ranges import Estimator, Ranges
from netsuke.nets.quantizers.roles import op
from netsuke.nets.quantizers.rounding.reconstruct import Rounding, reconstruct
from netsuke.nets.samples import Calibration
from netsuke.passes.quantize.reasons import no_arithmetic, no_kernel, quantized

Steps = Literal["any", "power_of_two"]
Zero = Literal["any", "centre"]
REMEDIES: tuple[Estimator, ...] = ("average", "percentile", "minmax")
"""What to try after one another, the likeliest to help first."""
DEARER: tuple[tuple[Rounding, Correction], ...] = (
    ("nearest", "bias"), ("gptq", "none"), ("adaround", "none"),
)  # fmt: skip
"""Then what needs both networks run layer by layer, cheapest first."""


@dataclass(frozen=True, kw_only=True)
class Static(Pass):
    """Quantize weights and activations with ranges found on calibration data, without training.

    One scale a channel for weights, one a tensor for activations, quantizers where the runtime's
    fused operations end (Jacob et al., 2018; Nagel et al., 2021). estimator: how a range is found;
    "mse" has the least square error, "average" the mean of the batches' extremes, "percentile"
    leaves out one value in 10,000 at each end, "minmax" nothing. samples: at most so many.
    weights, activations: bits. steps: "power_of_two" makes both fixed-point numbers Qm.n. zero: "centre"
    gives activations signed integers around 0, for hardware without zero points. rounding: "nearest", or "gptq" or "adaround", which choose each weight's
    rounding so that its layer gives what it gave in float. correct: "bias" puts the mean of each
    channel back, "norm" its mean and variance (BatchNorm re-estimation after folding). None of it
    needs labels.
    """

    name: ClassVar[str] = "quantize.static"

    estimator: Estimator = "mse"
    samples: Annotated[int, Range(1, 100_000)] = 500
    weights: Annotated[int, Range(2, 8)] = 8
    activations: Annotated[int, Range(2, 8)] = 8
    steps: Steps = "any"
    zero: Zero = "any"
    rounding: Rounding = "nearest"
    correct: Correction = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps == "power_of_two" and self.correct == "norm":
            raise NetsukeError(
                f'{self.name}.correct: "norm" changes steps, which are to be powers of two; take "bias"'
            )

    @property
    def asks_device(self) -> bool:
        """The same codes for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where it is done already, there is nothing to do, or the device would gain nothing."""
        return quantized(model) or no_kernel(model) or no_arithmetic(goal)

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where calibration data is missing, or NaN or infinite."""
        network = place(model.network, model.example, self._plan())
        samples = Calibration(model, goal, self.samples)
        calibrate(network, goal.track(samples, "calibrating"), Ranges(self.estimator))
        used = samples.count
        chosen = self._reconstruct(network, samples)
        kinds = Counter(op(user) for q in quantizers(network) if q.constant and q.axis == 0
                        for user in q.node.users if user.args[1] is q.node)  # fmt: skip
        counted = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"W{self.weights}A{self.activations}: {counted}",
            notes=(
                f"ranges: {self.estimator} on {used} samples",
                *self._formats(),
                *chosen,
                *(f"float: {layer} has no integer kernel" for layer in left_float(network)),
            ),
        )
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """The same with other estimators, then with dearer roundings and corrections."""
        now = (self.rounding, self.correct)
        later = DEARER[DEARER.index(now) + 1 :] if now in DEARER else DEARER
        others = (replace(self, estimator=e) for e in REMEDIES if e != self.estimator)
        dearer = (replace(self, rounding=r, correct=c) for r, c in later if (r, c) != now)
        return (*others, *dearer)

    def _plan(self) -> Plan:
        fixed, centred = self.steps == "power_of_two", self.zero == "centre"
        return Plan(
            Uniform(bits=self.weights, symmetric=True, axis=0, power_of_two=fixed),
            Uniform(bits=self.activations, symmetric=centred, power_of_two=fixed),
        )

    def _formats(self) -> tuple[str, ...]:
        """What is unusual about the integers, for the report."""
        plan = self._plan()
        fixed = (f"fixed point: weights {plan.weights}, activations {plan.activations}",)
        centred = (f"activations {plan.activations}: integers around 0, no zero points",)
        return fixed * (self.steps != "any") + centred * (self.zero != "any")

    def _reconstruct(self, network: GraphModule, samples: Calibration) -> tuple[str, ...]:
        """Choose roundings and correct channels, in place; what was done, for the report."""
        if (self.rounding, self.correct) == ("nearest", "none"):
            return ()
        done = reconstruct(network, samples, self.rounding, self.correct)
        how = f"rounding {self.rounding}, correction {self.correct}"
        return (
            f"{how}: {done.layers} layers on {done.samples} samples",
            *(f"rounded to nearest: {layer}" for layer in done.left),
        )
