"""Where pruning can go from where it stands: plans, their price, and the steps below each."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from netsuke.nets.channels.branches import Branch
from netsuke.nets.channels.groups import Group
from netsuke.nets.channels.importance import Scores
from netsuke.nets.channels.rehearsal import Parts
from netsuke.passes.prune.ladders import Ladders
from netsuke.passes.prune.prices import Prices


@dataclass(frozen=True)
class Plan:
    """How many units each group keeps, and which branches leave."""

    widths: tuple[int, ...]
    leaving: frozenset[Branch] = frozenset()

    def with_width(self, group_id: int, width: int) -> "Plan":
        """The same, but for the units of one group."""
        widths = (*self.widths[:group_id], width, *self.widths[group_id + 1 :])
        return replace(self, widths=widths)


Part = Group | Branch


Shares = tuple[float, ...]


@dataclass(frozen=True)
class Bounds:
    """What stays at the least. width: the share of a group's units. depth: the share of the branches that may leave."""

    width: float = 0.0
    depth: float = 0.0

    def leaving(self, branches: int) -> int:
        """How many of so many may leave at once."""
        return branches - math.ceil(self.depth * branches)


class Space:
    """All plans for a network.

    free: the groups that may get narrower, the branches that may leave. prices: what is to get less;
    shares of them are what is left, in the same order. bounds: beyond which no plan goes.
    """

    def __init__(
        self,
        parts: Parts,
        free: tuple[Part, ...],
        prices: tuple[Prices, ...],
        bounds: Bounds = Bounds(),
    ) -> None:
        self.parts, self.free, self.bounds, self._prices = parts, free, bounds, prices
        self._most_leaving = bounds.leaving(sum(isinstance(part, Branch) for part in free))
        self._least = [bounds.width * group.units for group in parts.groups]
        self.ladders = Ladders(parts.groups, prices[0].device.kernel_width)
        self.whole = Plan(tuple(g.units for g in parts.groups))
        self._orders = [np.arange(g.units) for g in parts.groups]
        self.scores: tuple[Scores, ...] = ()
        self._priced: dict[Plan, tuple[float, ...]] = {}
        self._of_whole = self._price(self.whole)

    def order_by(self, scores: tuple[Scores, ...]) -> None:
        """From now on the units with the highest scores stay."""
        self.scores = scores
        self._orders = [np.argsort(-s, kind="stable") for s in scores]

    def keep(self, plan: Plan) -> dict[int, list[int]]:
        """The units that stay, of each group that gets narrower."""
        pairs = zip(self.parts.groups, plan.widths, self._orders, strict=True)
        return {g.id: sorted(order[:n].tolist()) for g, n, order in pairs if n < g.units}

    def shares(self, plan: Plan) -> Shares:
        """What is left of each of the whole network's costs."""
        return tuple(p / w for p, w in zip(self._price(plan), self._of_whole, strict=True))

    def below(self, plan: Plan, part: Part) -> Plan | None:
        """The next plan with less of this part; None where there is none, or it gains nothing."""
        now = self._price(plan)
        lower = (p for p in self._lower(plan, part) if self.within(p))
        return next((p for p in lower if _less(self._price(p), now)), None)

    def above(self, plan: Plan, part: Part) -> Plan | None:
        """The next plan with more of this part; None where all of it is there."""
        if isinstance(part, Branch):
            return replace(plan, leaving=plan.leaving - {part}) if part in plan.leaving else None
        width = next(self.ladders.above(plan.widths, part.id), None)
        return None if width is None else plan.with_width(part.id, width)

    def within(self, plan: Plan) -> bool:
        """Whether it leaves what has to stay."""
        pairs = zip(plan.widths, self._least, strict=True)
        return len(plan.leaving) <= self._most_leaving and all(w >= least for w, least in pairs)

    def lowest(self) -> Plan:
        """As little as can be left: what no ratio can go beyond."""
        plan, before = self.whole, None
        while plan != before:  # a layer of several groups may get narrower once another of them has
            before = plan
            for part in self.free:
                while (lower := self.below(plan, part)) is not None:
                    plan = lower
        return plan

    def _price(self, plan: Plan) -> tuple[float, ...]:
        if plan not in self._priced:
            keep = self.keep(plan)
            self._priced[plan] = tuple(price(keep, plan.leaving) for price in self._prices)
        return self._priced[plan]

    def _lower(self, plan: Plan, part: Part) -> Iterator[Plan]:
        if isinstance(part, Branch):
            if part not in plan.leaving:
                yield replace(plan, leaving=plan.leaving | {part})
            return
        for width in self.ladders.below(plan.widths, part.id):
            lower = plan.with_width(part.id, width)
            if not self.ladders.empties(self.keep(lower)):
                yield lower


def movable(
    parts: Parts, asked: Iterable[Part], prices: tuple[Prices, ...], bounds: Bounds = Bounds()
) -> Space:
    """The space in which those parts are free that gain something when there is less of them, at once or later."""
    every = Space(parts, tuple(asked), prices, bounds)
    lowest = every.lowest()
    free = tuple(p for p in every.free if every.above(lowest, p) is not None)
    return Space(parts, free, prices, bounds)


def _less(after: tuple[float, ...], before: tuple[float, ...]) -> bool:
    return any(a < b for a, b in zip(after, before, strict=True))
