"""By how samples lie to each other (Park et al., 2019)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from netsuke.core.passes import Range
from netsuke.nets.distillation import relational
from netsuke.nets.distillation.method import Method
from netsuke.passes.distill.base import Distill


@dataclass(frozen=True, kw_only=True)
class Relational(Distill):
    """Outputs, and distances and angles between the samples of a batch. distances, angles: their weights in
    the loss."""

    name: ClassVar[str] = "distill.relational"
    distances: Annotated[float, Range(0, 1e6)] = relational.Relational.distances
    angles: Annotated[float, Range(0, 1e6)] = relational.Relational.angles

    def method(self) -> Method:
        return relational.Relational(distances=self.distances, angles=self.angles)
