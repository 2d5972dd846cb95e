"""By which sample it was (Tian et al., 2020)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from netsuke.core.passes import Range
from netsuke.nets.distillation import contrastive
from netsuke.nets.distillation.method import Method
from netsuke.passes.distill.base import Distill


@dataclass(frozen=True, kw_only=True)
class Contrastive(Distill):
    """Outputs, and that a sample can be told from others by what the student's last layer reads. weight: of
    this in the loss. others: how many samples it must be told from. sharpness: of the comparison."""

    name: ClassVar[str] = "distill.contrastive"
    weight: Annotated[float, Range(0, 1e6)] = contrastive.Contrastive.weight
    others: Annotated[int, Range(1, 1_000_000)] = contrastive.Contrastive.others
    sharpness: Annotated[float, Range(0.001, 10)] = contrastive.Contrastive.sharpness

    def method(self) -> Method:
        return contrastive.Contrastive(
            weight=self.weight, others=self.others, sharpness=self.sharpness
        )
