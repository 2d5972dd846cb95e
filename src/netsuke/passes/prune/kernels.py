"""Smaller kernels: convolutions that look at the middle of what they looked at."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.nets.costs import macs_left
from netsuke.nets.crop import Crop, cropped, crops
from netsuke.nets.protect import check_named, is_named
from netsuke.passes.prune.mend import mended
from netsuke.passes.prune.retraining import RetrainedPass


@dataclass(frozen=True, kw_only=True)
class Kernels(RetrainedPass):
    """Crop the kernels of convolutions to their middle (Cai et al., 2020, "Once-for-all", whose elastic kernels
    this is).

    largest: the longest side that stays; an even kernel stays even. reconstruct: before any training, the smaller
    kernels are fitted by least squares to what the whole ones gave, where Cai et al. learn a matrix; needs no
    labels. epochs, lr, batch, temperature, soft: retraining with the original as teacher. protect: layers, or
    modules of layers, that stay.
    """

    name: ClassVar[str] = "prune.kernels"
    largest: Annotated[int, Range(1, 63)] = 3
    reconstruct: bool = True
    protect: tuple[str, ...] = ()

    @property
    def asks_device(self) -> bool:
        """The same for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where no kernel is larger, or all that are stay."""
        found = crops(model, self.largest)
        if not found:
            return f"no convolution has a kernel larger than {self.largest}"
        if not self._free(found):
            return "no kernel can get smaller: " + "; ".join(self._stays(found)[:3])
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where a name in ``protect`` is no convolution with a larger kernel."""
        found = crops(model, self.largest)
        check_named(f"{self.name}.protect", self.protect, [c.layer for c in found])
        cuts = self._free(found)
        network, mending = mended(cropped(model, cuts), model, {}, goal, self.reconstruct)
        network, training = self.retrained(network, model.network, goal, self.epochs)
        gone = 1 - macs_left(model, replace(model, network=network))
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"{len(cuts)} smaller kernels, −{100 * gone:.0f} % of the macs",
            notes=(*mending, *training, *map(_said, cuts), *self._stays(found)),
        )
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Larger kernels, then more retraining."""
        longer = (replace(self, epochs=2 * self.epochs),) if self.epochs else ()
        return (replace(self, largest=self.largest + 2), *longer)

    def _free(self, found: tuple[Crop, ...]) -> tuple[Crop, ...]:
        return tuple(c for c in found if c.reason is None and not is_named(c.layer, self.protect))

    def _stays(self, found: tuple[Crop, ...]) -> tuple[str, ...]:
        free = self._free(found)
        reasons = {c.layer: c.reason or "named in protect" for c in found if c not in free}
        return tuple(f"stays as it is: {layer} ({reason})" for layer, reason in reasons.items())


def _said(cut: Crop) -> str:
    before, after = ("×".join(map(str, sides)) for sides in (cut.kernel, cut.left))
    return f"{cut.layer}: kernel {before} → {after}"
