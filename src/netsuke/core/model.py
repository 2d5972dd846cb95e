"""A network on its way through the walk."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Step:
    """Which pass made a model, with which settings, and what it did, for the report.

    notes: words for a reader. table: what it found out, as JSON can hold it, for plots and scripts.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    notes: tuple[str, ...] = ()
    table: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network, an example of its inputs, and its lineage. Never changed: passes return new ones.

    network: a ``torch.fx.GraphModule`` of ATen operations, on the CPU. example: one tensor per
    input, batch 2. lineage: the steps that made it, oldest first.
    """

    network: Any
    example: tuple[Any, ...]
    name: str = "model"
    lineage: tuple[Step, ...] = ()

    def then(self, network: Any, step: Step) -> "Model":
        """The model after one more step."""
        return replace(self, network=network, lineage=(*self.lineage, step))
