"""One network at several widths."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, ClassVar

from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.nets.evaluation import evaluate, some_batches
from netsuke.nets.quantizers.calibrate import calibrate
from netsuke.nets.quantizers.edges import edges
from netsuke.nets.quantizers.nested import (
    FULL,
    at_width,
    nest,
    renormalise,
    settled,
    steady,
    switch,
)
from netsuke.nets.quantizers.place import Plan, left_float, place
from netsuke.nets.quantizers.qat import trainable
from netsuke.nets.samples import Calibration
from netsuke.nets.training.train import Trained, View, Way, retrain
from netsuke.passes.quantize.reasons import no_arithmetic, no_kernel, quantized
from netsuke.passes.quantize.trained import TrainedPass

SAMPLES = 1024
"""Training samples that BatchNorm's statistics are estimated from before a width is judged."""


@dataclass(frozen=True, kw_only=True)
class Nested(TrainedPass):
    """Train one set of 8-bit weights whose upper bits are models of their own (Any-Precision networks:
    Yu et al., 2021; Matryoshka quantization: Nair et al., 2025).

    Each step trains 8 bits, the narrowest width and one between, in turn; all learn from the network
    as it came. ``load(run).use(bits=4)`` switches. The first and the last layers keep 8 bits at every
    width. A processor without kernels for a width runs it no faster than 8 bits: fewer bits save
    bytes to store or send.

    widths: the bits below 8, as in "6 4 2". activations: bits, at every width. The rest:
    as in ``TrainedPass``.
    """

    name: ClassVar[str] = "quantize.nested"

    widths: str = "6 4 2"
    activations: Annotated[int, Range(2, 8)] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = self.widths.split()
        if not parts or any(p not in map(str, range(2, FULL)) for p in parts):
            raise NetsukeError(
                f'{self.name}.widths: {self.widths!r} must be numbers from 2 to 7, as in "6 4 2"'
            )

    @property
    def all_widths(self) -> tuple[int, ...]:
        """8 and the others, widest first."""
        return (FULL, *sorted({int(p) for p in self.widths.split()}, reverse=True))

    @property
    def asks_device(self) -> bool:
        """The same codes for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where there is no training data, nothing to do, or it is quantized already."""
        if goal.data.train is None:
            return "needs training data (Task(train=…))"
        return quantized(model) or no_kernel(model) or no_arithmetic(goal)

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where training or calibration data is missing, or NaN or infinite."""
        placed = place(model.network, model.example, Plan.of(FULL, self.activations))
        calibrate(placed, goal.track(Calibration(model, goal, self.samples), "calibrating"))
        whole = trainable(placed, model.network, model.example)
        nested = nest(whole, self.all_widths, edges(model.network))
        trained = self._trained(nested, model.network, goal)
        network = settled(trained.network, placed, self.all_widths)
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"{self.all_widths} bits in one, epoch {trained.best} of {self.epochs}",
            notes=(
                *self._scores(network, goal),
                "worst width on validation, by epoch from 0: "
                + ", ".join(f"{s:.4g}" for s in trained.scores),
                *trained.notes,
                *(f"float: {layer} has no integer kernel" for layer in left_float(network)),
            ),
        )
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Longer, at a lower rate."""
        return (replace(self, epochs=2 * self.epochs, lr=self.lr / 2),)

    def _trained(self, network: GraphModule, teacher: GraphModule, goal: Goal) -> Trained:
        assert goal.data.train is not None
        seen = [x for x, _ in some_batches(goal.data.train, SAMPLES) if len(x[0]) > 1]
        numbers = range(len(self.all_widths))
        views = tuple(partial(switch, number=n) for n in numbers)
        judged = tuple(partial(renormalise, number=n, batches=seen) for n in numbers)

        def before(network: GraphModule, progress: float) -> None:
            steady(network)
            self.steady(network, progress)

        way = Way(before=before, views=judged, each=partial(_sandwich, views))
        return retrain(network, (teacher,) if self.soft else (), goal, self.plan(), way)

    def _scores(self, network: GraphModule, goal: Goal) -> list[str]:
        """What each width scores on the validation data."""
        data = goal.data
        return [
            f"{bits} bits: {data.metric.name} "
            f"{evaluate(at_width(network, bits), data.validate, data.metric):.4g} on validation"
            for bits in self.all_widths
        ]


def _sandwich(views: Sequence[View], step: int) -> tuple[View, ...]:
    """The widest, the narrowest, and one between in turn."""
    inner = views[1:-1]
    between = (inner[step % len(inner)],) if inner else ()
    return (views[0], *between, views[-1])
