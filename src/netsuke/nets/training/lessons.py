"""What a network learns from a batch: a loss of its outputs against targets, against its teachers, against itself."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.task import Splits
from netsuke.nets.data import Inputs
from netsuke.nets.distillation.imitation import Imitation
from netsuke.nets.distillation.losses import hard_loss, soft_loss
from netsuke.nets.distillation.teacher import Heard
from netsuke.nets.pace import Pace
from netsuke.nets.training.plan import TrainPlan


class Lessons:
    """Those of one training; losses are computed in float32. imitated: None without teachers."""

    def __init__(
        self, data: Splits, plan: TrainPlan, pace: Pace, imitated: Imitation | None
    ) -> None:
        self._plan, self._pace, self._imitated = plan, pace, imitated
        self._hard = hard_loss(data)
        self._soft = soft_loss(data, plan.temperature, plan.answers)

    def first(
        self, network: GraphModule, inputs: Inputs, told: tuple[Sequence[Heard], Tensor | None]
    ) -> tuple[Any, Tensor]:
        """(Its outputs, the loss.) told: what its teachers say of these inputs, and the targets."""
        heard, target = told
        if self._imitated is None:
            with self._pace.autocast():
                outputs = network(*inputs)
            mine = _floats(outputs)
            return mine, self._hard(mine, target)
        with self._pace.autocast():
            outputs, within = self._imitated.look(network, inputs)
        mine = _floats(outputs)
        loss = self._mixed(mine, self._imitated.soft(mine, heard), target)
        inside = self._imitated.inside(within, heard, target)
        return mine, loss if inside is None else loss + inside

    def after(
        self, network: GraphModule, inputs: Inputs, told: tuple[Any, Tensor | None]
    ) -> tuple[Any, Tensor]:
        """The same for a view that learns from what the step's first view gave. told: that, and the targets."""
        given, target = told
        with self._pace.autocast():
            mine = _floats(network(*inputs))
        return mine, self._mixed(mine, self._soft(mine, given), target)

    def _mixed(self, mine: Any, apart: Tensor, target: Tensor | None) -> Tensor:
        """apart: how far it is from who teaches."""
        loss = apart * self._plan.soft
        if self._plan.soft < 1:
            loss = loss + self._hard(mine, target) * (1 - self._plan.soft)
        return loss


def constant(outputs: Any) -> Any:
    """The same outputs, no gradients through them."""
    if isinstance(outputs, Tensor):
        return outputs.detach()
    return tuple(constant(o) for o in outputs)


def _floats(outputs: Any) -> Any:
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.is_floating_point() else outputs
    return tuple(_floats(o) for o in outputs)
