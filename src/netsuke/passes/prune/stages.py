"""Pruning in steps: how much each takes, and when to stop."""

from dataclasses import dataclass, field

from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.nets.evaluation import evaluate
from netsuke.passes.prune.space import Shares

FIRST = 0.3
"""What the first of several steps takes of the cost."""
ALLOWED = 0.01
"""Quality that may be lost where the budget sets no limit: a point, as at the gate."""


@dataclass(frozen=True, eq=False)
class Stage:
    """A network on its way down. shares: what is left of the original's cost and parameters."""

    network: GraphModule
    shares: Shares = (1.0, 1.0)
    notes: tuple[str, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)


def ramp(ratio: float, steps: int) -> tuple[float, ...]:
    """What is gone after each step: 30 % first and evenly on from there; evenly up to less."""
    if steps == 1 or ratio <= FIRST:
        return tuple(ratio * (i + 1) / steps for i in range(steps))
    return tuple(FIRST + (ratio - FIRST) * i / (steps - 1) for i in range(steps))


def shared_out(epochs: int, steps: int) -> tuple[int, ...]:
    """The epochs of each step: all alike, the last ones more where they do not divide."""
    each, over = divmod(epochs, steps)
    return tuple(each + (i >= steps - over) for i in range(steps))


class Watch:
    """What a network loses on validation against the original, and what it may lose."""

    def __init__(self, original: GraphModule, goal: Goal) -> None:
        self._goal = goal
        self._whole = self._score(original)
        limit = goal.budget.drop
        self.allowed = ALLOWED if limit is None else float(limit)

    def lost(self, network: GraphModule) -> float:
        """In shares of the metric's scale; below zero where it is better."""
        sign = 1 if self._goal.data.metric.higher else -1
        return sign * (self._whole - self._score(network))

    def _score(self, network: GraphModule) -> float:
        return evaluate(network, self._goal.data.validate, self._goal.data.metric)
