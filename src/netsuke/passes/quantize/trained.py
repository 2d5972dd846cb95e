"""What the passes that train simulated integers share: their settings and how they train."""

from dataclasses import dataclass
from typing import Annotated

from torch.fx import GraphModule

from netsuke.core.passes import Pass, Range
from netsuke.nets.quantizers.qat import freeze
from netsuke.nets.training.train import TrainPlan


@dataclass(frozen=True, kw_only=True)
class TrainedPass(Pass):
    """A pass that trains from the network as it came (Hinton et al., 2015).

    epochs, lr, weight_decay, batch: of the training. soft, temperature: share of the teacher in the
    loss, and how soft its answers are. freeze: the share at its end in which step sizes stand still.
    samples: of the calibration data, for the first step sizes. limit: samples an epoch, 0 for all.
    """

    epochs: Annotated[int, Range(1, 1000)] = 5
    lr: Annotated[float, Range(1e-6, 1)] = 0.02
    soft: Annotated[float, Range(0, 1)] = 0.9
    temperature: Annotated[float, Range(0.1, 100)] = 4.0
    weight_decay: Annotated[float, Range(0, 1)] = 1e-4
    freeze: Annotated[float, Range(0, 1)] = 0.2
    samples: Annotated[int, Range(1, 100_000)] = 500
    batch: Annotated[int, Range(2, 100_000)] = 128
    limit: Annotated[int, Range(0, 1_000_000_000)] = 0

    def plan(self) -> TrainPlan:
        """The settings as the training loop takes them."""
        return TrainPlan(
            epochs=self.epochs, lr=self.lr, batch=self.batch, soft=self.soft,
            temperature=self.temperature, weight_decay=self.weight_decay, limit=self.limit or None,
        )  # fmt: skip

    def steady(self, network: GraphModule, progress: float) -> None:
        """Before each step: in the last share of training, no step size is learned any more."""
        if progress > 1 - self.freeze:
            freeze(network)
