"""The outputs alone (Hinton, Vinyals and Dean, 2015, "Distilling the knowledge in a neural network")."""

from dataclasses import dataclass
from typing import ClassVar

from torch.fx import GraphModule

from netsuke.nets.data import Inputs
from netsuke.nets.distillation.method import Method, Pair


@dataclass(frozen=True, kw_only=True)
class Logits(Method):
    """Softened outputs, and nothing else."""

    name: ClassVar[str] = "logits"
    weight: float = 0.0

    def pairs(
        self, student: GraphModule, teacher: GraphModule, example: Inputs
    ) -> tuple[Pair, ...]:
        return ()
