"""By the values of layers (Romero et al., 2015)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from netsuke.core.passes import Range
from netsuke.nets.distillation import hints
from netsuke.nets.distillation.method import Method
from netsuke.passes.distill.base import Distill


@dataclass(frozen=True, kw_only=True)
class Hints(Distill):
    """Outputs, and the teachers' values at the end of each stage, which a regressor is to find in the
    student's. weight: of these in the loss."""

    name: ClassVar[str] = "distill.hints"
    weight: Annotated[float, Range(0, 1e6)] = hints.Hints.weight

    def method(self) -> Method:
        return hints.Hints(weight=self.weight)
