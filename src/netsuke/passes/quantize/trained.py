"""What the passes that train simulated integers share: their settings and how they train."""

from dataclasses import dataclass
from typing import Annotated

from torch.fx import GraphModule

from netsuke.core.passes import Range
from netsuke.nets.quantizers.qat import freeze
from netsuke.passes.training import RetrainingPass


@dataclass(frozen=True, kw_only=True)
class TrainedPass(RetrainingPass):
    """A pass that trains simulated integers.

    freeze: the share at the training's end in which step sizes stand still. samples: of the
    calibration data, for the first step sizes. The rest: as in ``RetrainingPass``.
    """

    epochs: Annotated[int, Range(1, 1000)] = 5
    lr: Annotated[float, Range(1e-6, 1)] = 0.02
    batch: Annotated[int, Range(2, 100_000)] = 128
    weight_decay: Annotated[float, Range(0, 1)] = 1e-4
    freeze: Annotated[float, Range(0, 1)] = 0.2
    samples: Annotated[int, Range(1, 100_000)] = 500

    def steady(self, network: GraphModule, progress: float) -> None:
        """Before each step: in the last share of training, no step size is learned any more."""
        if progress > 1 - self.freeze:
            freeze(network)
