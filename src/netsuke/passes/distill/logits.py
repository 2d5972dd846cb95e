"""By the outputs alone (Hinton, Vinyals and Dean, 2015)."""

from dataclasses import dataclass
from typing import ClassVar

from netsuke.nets.distillation import logits
from netsuke.nets.distillation.method import Method
from netsuke.passes.distill.base import Distill


@dataclass(frozen=True, kw_only=True)
class Logits(Distill):
    """Softened outputs of the teachers, by their temperature, and nothing of their insides."""

    name: ClassVar[str] = "distill.logits"

    def method(self) -> Method:
        return logits.Logits()
