"""What all passes that train share: their settings, in one place."""

from dataclasses import dataclass
from typing import Annotated

from netsuke.core.passes import Pass, Range
from netsuke.nets.training.plan import Optimizer, TrainPlan


@dataclass(frozen=True, kw_only=True)
class TrainingPass(Pass):
    """A pass that trains, with the network as it came as teacher (Hinton et al., 2015).

    epochs, lr, batch, weight_decay: of the training. optimizer: "sgd" with momentum, or "adamw", which
    transformers want, at a tenth of the rate or less. temperature, soft: how soft the teacher's answers
    are, and their share of the loss, 0 for targets alone. attention: weight of where the teacher looks
    (Zagoruyko and Komodakis, 2017; they take 1000), for networks that see pictures. limit: samples an epoch, 0 for all.
    """

    epochs: Annotated[int, Range(0, 1000)] = 6
    lr: Annotated[float, Range(1e-6, 10)] = 0.02
    batch: Annotated[int, Range(2, 65536)] = 128
    optimizer: Optimizer = "sgd"
    temperature: Annotated[float, Range(0.1, 100)] = 4.0
    soft: Annotated[float, Range(0, 1)] = 0.9
    attention: Annotated[float, Range(0, 1e6)] = 0.0
    weight_decay: Annotated[float, Range(0, 1)] = 5e-4
    limit: Annotated[int, Range(0, 1_000_000_000)] = 0

    def plan(self) -> TrainPlan:
        """The settings as the training loop takes them."""
        return TrainPlan(
            epochs=self.epochs, lr=self.lr, batch=self.batch, optimizer=self.optimizer,
            temperature=self.temperature, soft=self.soft, attention=self.attention,
            weight_decay=self.weight_decay, limit=self.limit or None,
        )  # fmt: skip
