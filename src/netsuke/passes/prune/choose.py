"""Which plan is taken: down to what is wanted, by prediction or by the goal's clock."""

from dataclasses import dataclass, replace
from typing import Protocol

from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.nets.channels.branches import drop
from netsuke.nets.channels.surgery import cut
from netsuke.passes.prune.prices import Cost
from netsuke.passes.prune.space import Plan, Shares, Space

READINGS = 5
"""How often the clock is asked at most."""
SLACK = 1.03
"""A reading this much above the goal will do: clocks are no better."""
CAUTION = 0.7
"""How much of the ratio is taken before the first reading, since predictions may promise too little."""


class Descent(Protocol):
    """A way through the plans."""

    def descend(self, plan: Plan, wanted: Shares) -> Plan: ...

    def climb(self, plan: Plan, wanted: Shares) -> Plan: ...


@dataclass(frozen=True)
class Choice:
    """A plan, the share of the cost that it leaves, and how that was found out."""

    plan: Plan
    share: float
    how: str


def choose(
    model: Model, space: Space, descent: Descent, goal: Goal, cost: Cost, wanted: Shares
) -> Choice:
    """The plan that leaves about the wanted shares of the cost and of the parameters."""
    if cost == "seconds" and goal.clock is not None:
        return _by_clock(model, space, descent, goal, wanted)
    plan = descent.climb(descent.descend(space.whole, wanted), wanted)
    share = space.shares(plan)[0]
    how = "counted" if cost in ("macs", "parameters", "activations") else "predicted"
    return Choice(plan, share, f"{100 * share:.0f} % of the {cost} is left ({how})")


def carved(model: Model, space: Space, plan: Plan) -> GraphModule:
    """The network without what the plan leaves out."""
    network = cut(model, space.keep(plan), space.parts.groups)
    return drop(replace(model, network=network), plan.leaving) if plan.leaving else network


def _by_clock(model: Model, space: Space, descent: Descent, goal: Goal, wanted: Shares) -> Choice:
    """Descend with caution, read the clock, correct the prediction; then go on, or back a little."""
    assert goal.clock is not None
    whole, left, ratio = goal.clock(model), wanted[0], 1 - wanted[0]
    plan = descent.descend(space.whole, (1 - CAUTION * ratio, wanted[1]))
    readings: dict[Plan, float] = {}
    while plan not in readings and len(readings) < READINGS - 1:
        made = replace(model, network=carved(model, space, plan))
        readings[plan] = measured = goal.clock(made) / whole
        if left / SLACK <= measured <= left * SLACK:
            break
        gone = (1 - space.shares(plan)[0]) * ratio / max(1 - measured, 1e-3)
        asked = (max(1 - gone, 0.0), wanted[1])
        plan = descent.descend(plan, asked) if measured > left else descent.climb(plan, asked)
    plan = _chosen(readings, left)
    share = readings[plan]
    note = f"{100 * share:.0f} % of the time is left by the clock, {100 * left:.0f} % was asked for"
    return Choice(plan, share, note)


def _chosen(readings: dict[Plan, float], left: float) -> Plan:
    """The slowest plan that is quick enough, else the quickest."""
    enough = {plan: share for plan, share in readings.items() if share <= left * SLACK}
    if enough:
        return max(enough, key=lambda plan: enough[plan])
    return min(readings, key=lambda plan: readings[plan])
