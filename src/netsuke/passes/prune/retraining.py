"""Retraining after structure left: settings and words that the passes which cut share."""

from dataclasses import dataclass, replace

from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.nets.training.train import retrain
from netsuke.passes.training import RetrainingPass


@dataclass(frozen=True, kw_only=True)
class RetrainedPass(RetrainingPass):
    """A pass that retrains what it cut, where there is training data."""

    def retrained(
        self, network: GraphModule, teacher: GraphModule, goal: Goal, epochs: int
    ) -> tuple[GraphModule, tuple[str, ...]]:
        """(The network after this many epochs, what to say of it.)"""
        if goal.data.train is None:
            return network, ("not retrained: the task has no training data",)
        if epochs == 0:
            return network, ()
        trained = retrain(network, (teacher,), goal, replace(self.plan(), epochs=epochs))
        said = f"retrained {epochs} epochs with the original as teacher: {trained.told(goal.data.metric)}"
        return trained.network, (said, *trained.notes)
