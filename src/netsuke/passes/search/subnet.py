"""The part of a supernet that a device wants."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from netsuke.core.model import Model, Step
from netsuke.core.passes import Range
from netsuke.passes.prune.channels import Channels, Scope
from netsuke.passes.prune.space import Bounds
from netsuke.passes.search.supernet import Supernet


@dataclass(frozen=True, kw_only=True)
class Subnet(Channels):
    """Take the part out of what ``search.supernet`` trained that costs no more than is allowed and moves the
    outputs least: by evolution over widths and branches, priced by the device's kernels, checked by its clock
    (Cai et al., 2020). BatchNorm statistics are estimated anew; nothing is trained. Nothing leaves that was not trained
    to: no more of a width and no more branches than ``search.supernet`` was told, and nothing it protected.

    The settings are those of ``prune.channels``, which this is, with the last units of each group leaving
    first.
    """

    name: ClassVar[str] = "search.subnet"
    beyond: ClassVar[str] = "asks for more than was trained to leave"
    ratio: Annotated[float, Range(0.05, 0.95)] = 0.5
    scope: Scope = "evolved"
    criterion: str = "order"
    reconstruct: bool = False
    epochs: Annotated[int, Range(0, 1000)] = 0

    def _bounds(self, model: Model) -> Bounds:
        told = _trained(model)
        return Bounds(told.settings["least"], told.settings["depth"]) if told else Bounds()

    def _protected(self, model: Model) -> tuple[str, ...]:
        told = _trained(model)
        return (*self.protect, *told.settings["protect"]) if told else self.protect


def _trained(model: Model) -> Step | None:
    """How its parts were trained, where they were."""
    return next((step for step in reversed(model.lineage) if step.name == Supernet.name), None)
