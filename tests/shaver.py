"""A pass with a setting of every kind."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from netsuke.core.passes import Pass, Range


@dataclass(frozen=True, kw_only=True)
class Shave(Pass):
    """Shaves."""

    name: ClassVar[str] = "test.shave"
    ratio: Annotated[float, Range(0.1, 0.9)] = 0.3
    rounds: int = 2
    method: Literal["fine", "coarse"] = "fine"
    keep: tuple[str, ...] = ()
    limit: Annotated[float | None, Range(0, 1)] = None
    quick: bool = False

    def apply(self, model, goal):
        return model
