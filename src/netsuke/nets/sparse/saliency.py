"""How much each single weight matters: what every criterion of it shares."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.sparse.layers import Layer


class Saliency(ABC):
    """Scores weights one by one, so that the least important leave first.

    Scores are compared across layers too. A new criterion is one file in ``passes/prune/saliency``.
    labels: whether it needs labelled training data.
    """

    name: ClassVar[str]
    labels: ClassVar[bool] = False

    @abstractmethod
    def score(self, model: Model, layers: Sequence[Layer], goal: Goal) -> dict[str, Tensor]:
        """For each layer's weight, by name, a score for each value: higher is more important.

        Finite, and the same for the same ``goal.seed``.
        """
