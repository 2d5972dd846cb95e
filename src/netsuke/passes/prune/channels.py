"""Structured pruning: whole channels, attention heads and residual branches leave."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.core.registry import named, nearest
from netsuke.nets.channels.branches import drop
from netsuke.nets.channels.importance import Criterion
from netsuke.nets.channels.rehearsal import Parts, Rehearsal, parts
from netsuke.nets.channels.surgery import cut
from netsuke.nets.training.train import TrainPlan, recalibrate, retrain
from netsuke.passes.prune.allocate import Allocator
from netsuke.passes.prune.prices import Cost, Prices
from netsuke.passes.prune.space import Part, Plan, Space
from netsuke.passes.prune.wording import changes, layers_of, protected, summary

READINGS = 5
"""How often the clock is asked at most."""
SLACK = 1.03
"""A reading this much above the goal will do: clocks are no better."""
CAUTION = 0.7
"""How much of the ratio is taken before the first reading, since predictions may promise too little."""
SAMPLES = 1024
"""Calibration samples for BatchNorm statistics."""


@dataclass(frozen=True, kw_only=True)
class Channels(Pass):
    """Remove whole channels and branches, the least damage first (Li et al., 2017; Molchanov et al., 2019).

    ratio: the share of the cost that leaves. cost: time on the goal's device (measured where the
    goal has a clock), MACs, or parameters. parameters: the share of them that leaves at least, for
    who must also get smaller. criterion: which units of a group go first. branches:
    whether whole residual branches may leave. epochs, lr, batch, temperature, soft: retraining with
    the original as teacher (``nets.train``); none without training data. protect: layers, or modules
    of layers, that stay as they are.
    """

    name: ClassVar[str] = "prune.channels"
    ratio: Annotated[float, Range(0.05, 0.95)] = 0.3
    cost: Cost = "seconds"
    parameters: Annotated[float, Range(0, 0.95)] = 0.0
    criterion: str = "taylor"
    branches: bool = True
    epochs: Annotated[int, Range(0, 1000)] = 6
    lr: Annotated[float, Range(1e-6, 10)] = 0.02
    batch: Annotated[int, Range(2, 65536)] = 128
    temperature: Annotated[float, Range(0.1, 100)] = 4.0
    soft: Annotated[float, Range(0, 1)] = 0.9
    protect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._criterion()

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where nothing can leave (which layers are protected, and why), or not so much."""
        space = self._space(model, goal)
        if not space.free:
            reasons = protected(space.parts.groups, self.protect)
            return "no channel can leave: " + (
                "; ".join(reasons[:3]) or "it has no layers to prune"
            )
        asked = ((self.ratio, "ratio", self.cost), (self.parameters, "parameters", "parameters"))
        for least, (share, field, what) in zip(space.shares(space.lowest()), asked, strict=True):
            if least > 1 - share:
                most = f"at most {100 * (1 - least):.0f} % of the {what} can leave"
                return f"{field} = {share:g} would empty a layer: {most}"
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where a name in ``protect`` is no layer of the model."""
        space = self._space(model, goal)
        space.order_by(self._criterion().score(model, space.parts.groups, goal))
        plan, timing = self._choose(model, space, goal)
        network = recalibrate(_carved(model, space, plan), goal.data.calibrate, SAMPLES)
        network, training = self._retrained(network, model, goal)
        notes = (
            *timing,
            *training,
            *changes(space, plan),
            *protected(space.parts.groups, self.protect),
        )
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=summary(space, plan, self.cost),
            notes=notes,
        )
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Smaller ratios, then the same ratio with more retraining."""
        smaller = tuple(replace(self, ratio=r) for r in (0.2, 0.1) if r < self.ratio)
        return (*smaller, replace(self, epochs=2 * self.epochs)) if self.epochs else smaller

    def _criterion(self) -> Criterion:
        return named(Criterion, "netsuke.passes.prune.criteria", self.criterion)()  # type: ignore[type-abstract]

    def _space(self, model: Model, goal: Goal) -> Space:
        found = parts(model)
        self._check_names(found)
        costs: tuple[Cost, ...] = (self.cost, "parameters")
        prices = tuple(Prices(model, found.groups, goal.device, cost) for cost in costs)
        every = Space(found, (*found.groups, *(found.branches if self.branches else ())), prices)
        movable = [p for p in every.free if not self._is_protected(p)]
        return Space(found, tuple(p for p in movable if every.below(every.whole, p)), prices)

    def _is_protected(self, part: Part) -> bool:
        return any(_within(layer, name) for layer in layers_of(part) for name in self.protect)

    def _check_names(self, found: Parts) -> None:
        known = {layer for part in (*found.groups, *found.branches) for layer in layers_of(part)}
        known |= {layer for layer, _ in found.groups.protected}
        for name in self.protect:
            if not any(_within(layer, name) for layer in known):
                raise NetsukeError(
                    f"prune.channels.protect: no layer {name!r}; {nearest(name, sorted(known))}"
                )

    def _choose(self, model: Model, space: Space, goal: Goal) -> tuple[Plan, tuple[str, ...]]:
        """The plan, and how its cost was found out."""
        rehearsal = Rehearsal(model, space.parts, goal)
        allocator = Allocator(space, rehearsal, goal)
        if self.cost == "seconds" and goal.clock is not None:
            return self._by_clock(model, space, allocator, goal)
        wanted = (1 - self.ratio, 1 - self.parameters)
        plan = allocator.climb(allocator.descend(space.whole, wanted), wanted)
        how = "predicted" if self.cost == "seconds" else "counted"
        return plan, (f"{100 * space.shares(plan)[0]:.0f} % of the {self.cost} is left ({how})",)

    def _by_clock(
        self, model: Model, space: Space, allocator: Allocator, goal: Goal
    ) -> tuple[Plan, tuple[str, ...]]:
        """Descend with caution, read the clock, correct the prediction; then go on, or back a little."""
        assert goal.clock is not None
        whole, left = goal.clock(model), 1 - self.ratio
        plan = allocator.descend(space.whole, (1 - CAUTION * self.ratio, 1 - self.parameters))
        readings: dict[Plan, float] = {}
        while plan not in readings and len(readings) < READINGS - 1:
            carved = replace(model, network=_carved(model, space, plan))
            readings[plan] = measured = goal.clock(carved) / whole
            if left / SLACK <= measured <= left * SLACK:
                break
            gone = (1 - space.shares(plan)[0]) * self.ratio / max(1 - measured, 1e-3)
            wanted = (max(1 - gone, 0.0), 1 - self.parameters)
            go_on = measured > left
            plan = allocator.descend(plan, wanted) if go_on else allocator.climb(plan, wanted)
        plan = _chosen(readings, left)
        note = f"{100 * readings[plan]:.0f} % of the time is left by the clock, {100 * left:.0f} % was asked for"
        return plan, (note,)

    def _retrained(
        self, network: GraphModule, model: Model, goal: Goal
    ) -> tuple[GraphModule, tuple[str, ...]]:
        if goal.data.train is None:
            return network, ("not retrained: the task has no training data",)
        if self.epochs == 0:
            return network, ()
        plan = TrainPlan(
            epochs=self.epochs, lr=self.lr, batch=self.batch, temperature=self.temperature, soft=self.soft
        )  # fmt: skip
        trained = retrain(network, model.network, goal, plan)
        before, after = trained.scores[0], trained.scores[trained.best]
        said = (
            f"retrained {self.epochs} epochs with the original as teacher: {goal.data.metric.name} "
            f"on validate {before:.4g} → {after:.4g}, best after epoch {trained.best}"
        )
        return trained.network, (said, *trained.notes)


def _chosen(readings: dict[Plan, float], left: float) -> Plan:
    """The slowest plan that is quick enough, else the quickest."""
    enough = {plan: share for plan, share in readings.items() if share <= left * SLACK}
    if enough:
        return max(enough, key=lambda plan: enough[plan])
    return min(readings, key=lambda plan: readings[plan])


def _carved(model: Model, space: Space, plan: Plan) -> GraphModule:
    """The network without what the plan leaves out."""
    network = cut(model, space.keep(plan), space.parts.groups)
    return drop(replace(model, network=network), plan.leaving) if plan.leaving else network


def _within(layer: str, name: str) -> bool:
    return layer == name or layer.startswith(f"{name}.")
