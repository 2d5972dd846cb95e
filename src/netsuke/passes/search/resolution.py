"""Smaller pictures: less work for every layer that looks at them."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.nets.costs import macs_left
from netsuke.nets.resolution import lowered, smaller
from netsuke.nets.training.train import recalibrate
from netsuke.passes.prune.retraining import RetrainedPass

SAMPLES = 1024
"""Calibration samples for BatchNorm statistics, which another size moves (Touvron et al., 2019)."""


@dataclass(frozen=True, kw_only=True)
class Resolution(RetrainedPass):
    """Look at the pictures in a lower resolution (Howard et al., 2017, "MobileNets", whose resolution multiplier
    this is; Tan and Le, 2019).

    The network's first operation shrinks what comes in, so that pictures are given to it as before. Work falls
    with the square of ``multiplier``, and so do activations; the weights stay. BatchNorm statistics are
    estimated anew; epochs, lr and so on: retraining with the original, which sees the whole pictures, as
    teacher.
    """

    name: ClassVar[str] = "search.resolution"
    multiplier: Annotated[float, Range(0.1, 0.95)] = 0.75

    @property
    def asks_device(self) -> bool:
        """The same for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where there are no pictures, or a layer wants them in one size."""
        try:
            lowered(model, self.multiplier)
        except NetsukeError as error:
            return str(error)
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError as ``nets.resolution.lowered``."""
        network = recalibrate(lowered(model, self.multiplier), goal.data.calibrate, SAMPLES)
        network, training = self.retrained(network, model.network, goal, self.epochs)
        gone = 1 - macs_left(model, replace(model, network=network))
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"{_sides(model, self.multiplier)}, −{100 * gone:.0f} % of the macs",
            notes=training,
        )
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Larger pictures, then more retraining."""
        larger = (0.5 * (1 + self.multiplier),) if self.multiplier < 0.9 else ()
        longer = (replace(self, epochs=2 * self.epochs),) if self.epochs else ()
        return (*(replace(self, multiplier=round(m, 3)) for m in larger), *longer)


def _sides(model: Model, multiplier: float) -> str:
    picture = next(t for t in model.example if t.ndim == 4)
    before, after = tuple(picture.shape[-2:]), smaller(picture.shape, multiplier)
    return "pictures of {} × {} instead of {} × {}".format(*after, *before)
