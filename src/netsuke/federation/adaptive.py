"""Pruning while the clients train: which channels the network has is found out anew every few rounds.

After Jiang et al., 2022, "Model pruning enables efficient federated learning on edge devices" (PruneFL): every few rounds what is
worth most for the time it takes stays, by importances that the clients gather on their own samples; what left before may come
back. There single weights leave, which no usual kernel is faster for; here whole channels do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.groups import Group
from netsuke.nets.channels.rehearsal import Parts, Rehearsal, parts
from netsuke.nets.channels.surgery import cut, put_back
from netsuke.nets.graph import clone
from netsuke.passes.prune.allocate import Allocator
from netsuke.passes.prune.choose import choose
from netsuke.passes.prune.criteria import criterion
from netsuke.passes.prune.prices import Cost, Prices
from netsuke.passes.prune.space import Space, movable

Shape = Mapping[int, Sequence[int]]
"""The units that each group keeps, where it does not keep all."""
Worth = tuple[NDArray[np.float64], ...]
"""Of every group's units, as a client sees them."""
COST: Cost = "seconds"


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """ratio: of the network's time that leaves in the end, 0 for none. first: the round after which something leaves for the
    first time. every: rounds from one look to the next. last: share of the rounds after which the network stays as it is."""

    ratio: float = 0.0
    first: int = 2
    every: int = 2
    last: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise NetsukeError(
                f"prune: {self.ratio:g}; give a share of the time from 0 to less than 1"
            )

    def gone(self, number: int, rounds: int) -> float | None:
        """The ratio after this round; None where nothing is looked at. It rises as a cube does, most at first (Zhu and
        Gupta, 2017, "To prune, or not to prune")."""
        end = max(self.first, round(self.last * rounds))
        if not self.ratio or not self.first <= number <= end:
            return None
        if number != end and (number - self.first) % self.every:
            return None
        progress = (number - self.first + 1) / (end - self.first + 1)
        return self.ratio * float(1 - (1 - progress) ** 3)


class Adaptive:
    """A network whose channels come and go. model: all of it; what left keeps the weights it had."""

    def __init__(self, model: Model, goal: Goal) -> None:
        self._model, self._goal = replace(model, network=clone(model.network)), goal
        self.shape: Shape = {}

    @cached_property
    def _parts(self) -> Parts:
        return parts(self._model)

    def resume(self, whole: Mapping[str, Tensor], shape: Shape) -> None:
        """As an earlier process left it."""
        self._model.network.load_state_dict(dict(whole), strict=False)
        self.shape = shape

    @property
    def network(self) -> GraphModule:
        """As it is now."""
        return (
            cut(self._model, self.shape, self._parts.groups)
            if self.shape
            else clone(self._model.network)
        )

    @property
    def whole(self) -> dict[str, Tensor]:
        """All of its state."""
        return dict(self._model.network.state_dict())

    def take(self, state: Mapping[str, Tensor]) -> None:
        """The state of what is there now, after a round."""
        back = put_back(self.whole, state, self._parts.groups, self.shape) if self.shape else state
        self._model.network.load_state_dict(dict(back), strict=False)

    @property
    def groups(self) -> list[int]:
        """How many units each has, of those that are there or not."""
        return [group.units for group in self._parts.groups]

    @property
    def units(self) -> list[int]:
        """How many of each group that does not keep all."""
        return [len(units) for units in self.shape.values()]

    def said(self, before: Shape) -> str:
        """How many units are there now, and how many of them were not before."""
        whole = {group.id: range(group.units) for group in self._parts.groups}
        now, earlier = (
            {g: set(shape.get(g, whole[g])) for g in whole} for shape in (self.shape, before)
        )
        there, all_ = (sum(map(len, each.values())) for each in (now, whole))
        back = sum(len(now[g] - earlier[g]) for g in whole)
        return f"{there} of {all_} stay" + (f", {back} of them came back" if back else "")

    def look(self, worths: Sequence[tuple[Worth, int]], gone: float) -> None:
        """Choose what is there from now on. worths: of the clients, and how many samples each has. gone: the share of the
        time that may not be there."""
        space = self._space()
        total = sum(samples for _, samples in worths)
        mean = tuple(
            sum(worth[g] * (samples / total) for worth, samples in worths)
            for g in range(len(self._parts.groups))
        )
        space.order_by(mean)  # type: ignore[arg-type]
        rehearsal = Rehearsal(self._model, self._parts, self._goal)
        descent = Allocator(space, rehearsal, self._goal)
        wanted = (1 - gone, 1.0)
        self.shape = space.keep(choose(self._model, space, descent, self._goal, COST, wanted).plan)

    def _space(self) -> Space:
        known = self._parts.groups
        free = tuple(part for part in known.groups if isinstance(part, Group))
        prices = tuple(
            Prices(self._model, known, self._goal.device, cost, None)
            for cost in (COST, "parameters")
        )
        return movable(self._parts, free, prices)


def worth(model: Model, goal: Goal) -> Worth:
    """What the units of a network are worth on a client's samples."""
    return criterion("taylor").score(model, parts(model).groups, goal)
