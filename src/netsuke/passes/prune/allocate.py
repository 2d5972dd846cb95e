"""Which widths and branches leave: greedily, the least damage for what is gained."""

import heapq
from dataclasses import dataclass, field, replace

from netsuke.core.goal import Goal
from netsuke.nets.channels.branches import Branch
from netsuke.nets.channels.rehearsal import Rehearsal
from netsuke.passes.prune.space import Part, Plan, Shares, Space

NOTHING = 1e-9
"""A step that gains nothing of what is asked for comes last."""


@dataclass(frozen=True, order=True)
class _Move:
    """A step with less of one part. score: damage for the gain, found at step number ``age``."""

    score: float
    name: str
    age: int
    part: Part = field(compare=False)


class Allocator:
    """Walks down from the whole network, one width or branch at a time.

    Each step is the one that moves the outputs least for what it gains, tried on the network with
    those parts silenced. Damage grows as more leaves, so an old score is a lower bound and is looked
    at again only when it would win (lazy greedy; Minoux, 1978).
    """

    def __init__(self, space: Space, rehearsal: Rehearsal, goal: Goal) -> None:
        self._space, self._rehearsal, self._goal = space, rehearsal, goal
        self._moves: list[_Move] = []
        self._step = 0
        self._damages: dict[Plan, float] = {}

    def descend(self, plan: Plan, wanted: Shares) -> Plan:
        """Go on from ``plan`` until no more than these shares are left, or nothing more may leave."""
        damage = self.damage(plan)
        if not self._moves:
            self._moves = self._first(plan, damage, wanted)
        while _needs(self._space.shares(plan), wanted):
            after = self._best(plan, damage, wanted)
            if after is None:
                return plan
            plan, damage = after, self.damage(after)
            self._step += 1
        return plan

    def climb(self, plan: Plan, wanted: Shares) -> Plan:
        """Give back what need not leave: steps are coarse, and the last one may have gone too far."""
        while True:
            up = {p for part in self._space.free if (p := self._space.above(plan, part))}
            fit = [p for p in up if not _needs(self._space.shares(p), wanted)]
            if not fit:
                return plan
            plan = min(fit, key=lambda p: (self.damage(p), p.widths))

    def _first(self, plan: Plan, damage: float, wanted: Shares) -> list[_Move]:
        moves = []
        for part in self._goal.track(self._space.free, "looking for what can leave"):
            after = self._space.below(plan, part)
            if after is not None:
                score = self._score(plan, after, damage, wanted)
                moves.append(_Move(score, _name(part), self._step - 1, part))
        heapq.heapify(moves)
        return moves

    def _best(self, plan: Plan, damage: float, wanted: Shares) -> Plan | None:
        """The plan after the best step; None where there is none."""
        while self._moves:
            move = heapq.heappop(self._moves)
            after = self._space.below(plan, move.part)
            if after is None:
                continue
            fresh = move.age == self._step
            if not fresh:
                move = replace(move, score=self._score(plan, after, damage, wanted), age=self._step)
            heapq.heappush(self._moves, move)
            if fresh:
                return after
        return None

    def _score(self, plan: Plan, after: Plan, damage: float, wanted: Shares) -> float:
        """Damage for what is gained, counted in shares of what is asked for and not beyond it."""
        gain = 0.0
        for now, then, goal in zip(
            self._space.shares(plan), self._space.shares(after), wanted, strict=True
        ):
            if now > goal:
                gain += (now - max(then, goal)) / (1 - goal)
        return (self.damage(after) - damage) / max(gain, NOTHING)

    def damage(self, plan: Plan) -> float:
        """How far a plan moves the outputs; tried once."""
        if plan not in self._damages:
            self._damages[plan] = self._rehearsal.damage(self._space.keep(plan), plan.leaving)
        return self._damages[plan]


def _needs(shares: Shares, wanted: Shares) -> bool:
    return any(share > goal for share, goal in zip(shares, wanted, strict=True))


def _name(part: Part) -> str:
    return f"{part.name} {part.add}" if isinstance(part, Branch) else f"{part.name} {part.id}"
