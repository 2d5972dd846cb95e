"""Which widths and branches leave: by evolution, from what is found step by step."""

import random

from netsuke.core.goal import Goal
from netsuke.nets.channels.branches import Branch
from netsuke.nets.channels.rehearsal import Rehearsal
from netsuke.passes.prune.allocate import Allocator
from netsuke.passes.prune.local import Local
from netsuke.passes.prune.space import Part, Plan, Shares, Space

POPULATION, PARENTS, GENERATIONS, STALE = 16, 4, 8, 2
"""Of generations, and of those in a row that found nothing better: then it ends."""
ROUGH = 0.4
"""Share of the samples that nearly all plans are tried on; the last few are tried on all."""
CHANGED, CROSSED = 0.1, 0.5
"""Share of the parts that a mutation changes, and of the children that have two parents."""
TRIES = 50
"""How often a child that is too dear is made cheaper before it is given up."""


class Evolution:
    """Plans within the wanted shares, bred from those that move the outputs least (Cai et al., 2020,
    "Once-for-all", whose search this is; Real et al., 2019).

    The first are what the greedy way finds and the same share of everything, so that it ends no worse than
    either.
    """

    def __init__(self, space: Space, rehearsal: Rehearsal, goal: Goal) -> None:
        self._space, self._goal, self._rehearsal = space, goal, rehearsal
        self._greedy = Allocator(space, rehearsal.rough(ROUGH), goal)
        self._even = Local(space)
        self._draw = random.Random(goal.seed)
        self._best: list[Plan] = []

    def descend(self, plan: Plan, wanted: Shares) -> Plan:
        """The plan within these shares that does the least damage; the narrowest where none is."""
        first = [self._greedy.descend(plan, wanted), self._even.descend(plan, wanted), *self._best]
        fitting = [p for p in dict.fromkeys(first) if self._fits(p, wanted)]
        if not fitting:
            return first[0]
        parents = fitting
        stale = 0
        for _ in self._goal.track(range(GENERATIONS), "breeding networks"):
            best = parents[0]
            children = (self._child(parents, wanted) for _ in range(POPULATION))
            alive = dict.fromkeys((*parents, *(c for c in children if c is not None)))
            parents = sorted(alive, key=self._greedy.damage)[:PARENTS]
            stale = stale + 1 if parents[0] == best else 0
            if stale == STALE:
                break
        self._best = parents
        return min(dict.fromkeys((*parents, *fitting)), key=self._damage)

    def climb(self, plan: Plan, wanted: Shares) -> Plan:
        """What more room is good for."""
        return self._greedy.climb(self.descend(plan, wanted), wanted)

    def _damage(self, plan: Plan) -> float:
        return self._rehearsal.damage(self._space.keep(plan), plan.leaving)

    def _child(self, parents: list[Plan], wanted: Shares) -> Plan | None:
        """Of two parents or of one, changed in places, within the shares; None where that fails."""
        mother, father = self._draw.choices(parents, k=2)
        father = father if self._draw.random() < CROSSED else mother
        plan = mother
        for part in self._space.free:
            plan = _as_in(plan, father, part) if self._draw.random() < 0.5 else plan
            plan = self._changed(plan, part) if self._draw.random() < CHANGED else plan
        for _ in range(TRIES):
            if self._fits(plan, wanted):
                return plan
            plan = self._space.below(plan, self._draw.choice(self._space.free)) or plan
        return None

    def _changed(self, plan: Plan, part: Part) -> Plan:
        """A step up or down."""
        step = self._draw.choice((self._space.above, self._space.below))
        return step(plan, part) or plan

    def _fits(self, plan: Plan, wanted: Shares) -> bool:
        return self._space.within(plan) and all(
            s <= w for s, w in zip(self._space.shares(plan), wanted, strict=True)
        )


def _as_in(plan: Plan, other: Plan, part: Part) -> Plan:
    """The plan with this part as the other one has it."""
    if not isinstance(part, Branch):
        return plan.with_width(part.id, other.widths[part.id])
    gone = plan.leaving | {part} if part in other.leaving else plan.leaving - {part}
    return Plan(plan.widths, gone)
