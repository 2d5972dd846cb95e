"""What all passes that train share: their settings, in one place."""

from dataclasses import dataclass, replace
from typing import Annotated

from netsuke.core.passes import Pass, Range
from netsuke.nets.distillation.logits import Logits
from netsuke.nets.distillation.method import Method, method
from netsuke.nets.training.plan import Optimizer, TrainPlan


@dataclass(frozen=True, kw_only=True)
class TrainingPass(Pass):
    """A pass that trains (Hinton et al., 2015).

    epochs, lr, batch, weight_decay: of the training. optimizer: "sgd" with momentum, or "adamw", which
    transformers want, at a tenth of the rate or less. temperature, soft: how soft the teacher's answers
    are, and their share of the loss, 0 for targets alone. limit: samples an epoch, 0 for all.
    """

    epochs: Annotated[int, Range(0, 1000)] = 6
    lr: Annotated[float, Range(1e-6, 10)] = 0.02
    batch: Annotated[int, Range(2, 65536)] = 128
    optimizer: Optimizer = "sgd"
    temperature: Annotated[float, Range(0.1, 100)] = 4.0
    soft: Annotated[float, Range(0, 1)] = 0.9
    weight_decay: Annotated[float, Range(0, 1)] = 5e-4
    limit: Annotated[int, Range(0, 1_000_000_000)] = 0

    def plan(self) -> TrainPlan:
        """The settings as the training loop takes them."""
        return TrainPlan(
            epochs=self.epochs, lr=self.lr, batch=self.batch, optimizer=self.optimizer,
            temperature=self.temperature, soft=self.soft, method=self.method(),
            weight_decay=self.weight_decay, limit=self.limit or None,
        )  # fmt: skip

    def method(self) -> Method:
        """What is imitated beside the outputs."""
        return Logits()


@dataclass(frozen=True, kw_only=True)
class RetrainingPass(TrainingPass):
    """A pass that trains what it changed, with the network as it came as teacher.

    distill: what is imitated beside the outputs (``nets/distillation``): "logits" nothing, "attention",
    "hints", "relational" or "contrastive". distill_weight: of that in the loss, 0 as its paper has it.
    """

    distill: str = "logits"
    distill_weight: Annotated[float, Range(0, 1e6)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.method()

    def method(self) -> Method:
        """Raises NetsukeError, listing near names, where there is no such."""
        found = method(self.distill)
        return replace(found, weight=self.distill_weight) if self.distill_weight else found
