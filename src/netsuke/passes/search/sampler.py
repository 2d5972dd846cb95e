"""Which parts of a network a step of its training asks for."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from torch.fx import GraphModule

from netsuke.nets.channels.branches import Branch
from netsuke.nets.channels.groups import Group
from netsuke.nets.elastic.part import Part, become, part
from netsuke.nets.training.way import View
from netsuke.passes.prune.space import Plan, Space

KEPT = 64
"""Parts that are not built again when they are asked for anew."""


@dataclass
class Sampler:
    """The sandwich rule (Yu and Huang, 2019, "Universally slimmable networks"): the whole, the smallest, and
    some between, in every step.

    space: its bounds are the smallest. opening: the share of the training in which the smallest goes from the whole down to
    that (progressive shrinking; Cai et al., 2020). between: how many.
    """

    network: GraphModule
    space: Space
    opening: float
    between: int
    seed: int
    _progress: float = 0.0
    _built: dict[Plan, Part] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)

    def before(self, _: GraphModule, progress: float) -> None:
        """How far the training is."""
        self._progress = progress

    def step(self, _: int) -> tuple[View, ...]:
        """The whole first, so that the others can learn from it."""
        plans = [self._random() for _ in range(self.between)]
        return (self.view(None), *map(self.view, plans), self.view(self.smallest()))

    def view(self, plan: Plan | None) -> View:
        """Puts the network into the state of computing as this plan, None as the whole."""
        some = None if plan is None or plan == self.space.whole else self._part(plan)
        return partial(become, part=some)

    def smallest(self, share: float | None = None) -> Plan:
        """The narrowest with no less than this share of each group's units (that of now when not given); at
        the least, with as few branches as may be, from all over the network."""
        share = self._share if share is None else share
        plan = self.space.whole
        for group in self._groups():
            plan = plan.with_width(group.id, self._widths(plan, group, share)[0])
        lowest = share <= self.space.bounds.width
        return replace(plan, leaving=self._every() if lowest else plan.leaving)

    def _random(self) -> Plan:
        plan = self.space.whole
        for group in self._groups():
            plan = plan.with_width(
                group.id, self._draw.choice(self._widths(plan, group, self._share))
            )
        gone = self._draw.randint(0, round(self._opened * self._most))
        return replace(plan, leaving=frozenset(self._draw.sample(self._branches(), gone)))

    def _every(self) -> frozenset[Branch]:
        """As many as may leave, the first of them staying."""
        known, most = self._branches(), self._most
        return frozenset(
            one
            for i, one in enumerate(known)
            if (i + 1) * most // len(known) > i * most // len(known)
        )

    @property
    def _most(self) -> int:
        """How many branches may leave at once."""
        return self.space.bounds.leaving(len(self._branches()))

    @property
    def _opened(self) -> float:
        return min(1.0, self._progress / self.opening) if self.opening else 1.0

    @property
    def _share(self) -> float:
        return 1 - (1 - self.space.bounds.width) * self._opened

    def _widths(self, plan: Plan, group: Group, share: float) -> list[int]:
        """From the narrowest that is no less than this share, to the whole."""
        below = self.space.ladders.below(plan.widths, group.id)
        return sorted({group.units, *(n for n in below if n >= share * group.units)})

    def _groups(self) -> Iterable[Group]:
        return (p for p in self.space.free if isinstance(p, Group))

    def _branches(self) -> list[Branch]:
        return [p for p in self.space.free if isinstance(p, Branch)]

    def _part(self, plan: Plan) -> Part:
        if plan not in self._built:
            if len(self._built) >= KEPT:
                self._built.pop(next(iter(self._built)))
            known = self.space.parts.groups
            self._built[plan] = part(self.network, known, self.space.keep(plan), plan.leaving)
        return self._built[plan]
