"""The same share of every layer leaves: what asks no questions, and what others are compared with."""

from netsuke.nets.channels.groups import Group
from netsuke.passes.prune.space import Plan, Shares, Space

STEPS = 256


class Local:
    """Finds the least share that, taken from each group, leaves no more than is wanted.

    Widths stay those the kernels like, so groups that are alike would all jump at once; what then is
    more than was asked for is given back, first where most is gone. Branches stay. A group that cannot
    give the share gives what it can.
    """

    def __init__(self, space: Space) -> None:
        self._space = space

    def descend(self, _: Plan, wanted: Shares) -> Plan:
        """The widest plan that is within these shares, else the narrowest there is."""
        plan = self._space.whole
        for step in range(1, STEPS + 1):
            plan = self._at(step / STEPS)
            if self._within(plan, wanted):
                break
        return plan

    def climb(self, plan: Plan, wanted: Shares) -> Plan:
        """Give back what need not leave."""
        while True:
            groups = sorted(self._groups(), key=lambda g: (plan.widths[g.id] / g.units, g.id))
            ups = (self._space.above(plan, group) for group in groups)
            after = next((up for up in ups if up is not None and self._within(up, wanted)), None)
            if after is None:
                return plan
            plan = after

    def _within(self, plan: Plan, wanted: Shares) -> bool:
        shares = self._space.shares(plan)
        return all(share <= goal for share, goal in zip(shares, wanted, strict=True))

    def _groups(self) -> list[Group]:
        return [part for part in self._space.free if isinstance(part, Group)]

    def _at(self, share: float) -> Plan:
        """The plan after this share of each group left, rounded to good widths."""
        plan = self._space.whole
        for group in self._groups():
            plan = self._narrowed(plan, group, (1 - share) * group.units)
        return plan

    def _narrowed(self, plan: Plan, group: Group, units: float) -> Plan:
        """As far down as brings the group nearest to this many units."""
        while (lower := self._space.below(plan, group)) is not None:
            now, then = plan.widths[group.id], lower.widths[group.id]
            if abs(then - units) > abs(now - units):
                break
            plan = lower
        return plan
