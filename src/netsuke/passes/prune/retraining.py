"""Retraining after structure left: settings and words that the passes which cut share."""

from dataclasses import dataclass
from typing import Annotated

from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.core.passes import Pass, Range
from netsuke.nets.training.train import TrainPlan, retrain


@dataclass(frozen=True, kw_only=True)
class RetrainedPass(Pass):
    """A pass that retrains what it cut with the original as teacher (Hinton et al., 2015).

    epochs, lr, batch: of the training; none without training data. temperature, soft: how soft the
    teacher's answers are, and their share of the loss.
    """

    epochs: Annotated[int, Range(0, 1000)] = 6
    lr: Annotated[float, Range(1e-6, 10)] = 0.02
    batch: Annotated[int, Range(2, 65536)] = 128
    temperature: Annotated[float, Range(0.1, 100)] = 4.0
    soft: Annotated[float, Range(0, 1)] = 0.9

    def retrained(
        self, network: GraphModule, teacher: GraphModule, goal: Goal, epochs: int
    ) -> tuple[GraphModule, tuple[str, ...]]:
        """(The network after this many epochs, what to say of it.)"""
        if goal.data.train is None:
            return network, ("not retrained: the task has no training data",)
        if epochs == 0:
            return network, ()
        plan = TrainPlan(
            epochs=epochs, lr=self.lr, batch=self.batch, temperature=self.temperature, soft=self.soft
        )  # fmt: skip
        trained = retrain(network, teacher, goal, plan)
        before, after = trained.scores[0], trained.scores[trained.best]
        said = (
            f"retrained {epochs} epochs with the original as teacher: {goal.data.metric.name} "
            f"on validate {before:.4g} → {after:.4g}, best after epoch {trained.best}"
        )
        return trained.network, (said, *trained.notes)
