"""By where the teachers look (Zagoruyko and Komodakis, 2017)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from netsuke.core.passes import Range
from netsuke.nets.distillation import attention
from netsuke.nets.distillation.method import Method
from netsuke.passes.distill.base import Distill


@dataclass(frozen=True, kw_only=True)
class Attention(Distill):
    """Outputs, and maps of the energy of values at the end of each stage. weight: of these in the loss."""

    name: ClassVar[str] = "distill.attention"
    weight: Annotated[float, Range(0, 1e6)] = attention.Attention.weight

    def method(self) -> Method:
        return attention.Attention(weight=self.weight)
