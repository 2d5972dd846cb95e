"""Structured pruning: whole channels, attention heads and residual branches leave."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.nets.channels.groups import Group, Heads
from netsuke.nets.channels.rehearsal import Rehearsal, parts
from netsuke.nets.onnx_out import export_onnx
from netsuke.passes.prune.allocate import Allocator
from netsuke.passes.prune.choose import Descent, carved, choose
from netsuke.passes.prune.criteria import criterion
from netsuke.passes.prune.evolve import Evolution
from netsuke.passes.prune.local import Local
from netsuke.passes.prune.mend import channels_left, mended
from netsuke.passes.prune.prices import Cost, Prices
from netsuke.passes.prune.protection import unprotected
from netsuke.passes.prune.retraining import RetrainedPass
from netsuke.passes.prune.space import Bounds, Shares, Space, movable
from netsuke.passes.prune.stages import Stage, Watch, ramp, shared_out
from netsuke.passes.prune.wording import changes, protected, reasons, summary

Scope = Literal["global", "local", "evolved"]
SCOPES: dict[Scope, Callable[[Space, Rehearsal, Goal], Descent]] = {
    "global": Allocator,
    "local": lambda space, *_: Local(space),
    "evolved": Evolution,
}


@dataclass(frozen=True, kw_only=True)
class Channels(RetrainedPass):
    """Remove whole channels and branches, the least damage first (Li et al., 2017; Molchanov et al., 2019).

    ratio: the share of the cost that leaves. cost: time on the goal's device (measured where the goal has a
    clock), MACs, parameters, bytes of the exported file, or the activations in memory at once. parameters:
    the share of them that leaves at least, for who must also get smaller. scope: "global" takes where the
    least harm is done, step by step; "evolved" goes on from there by evolution; "local" takes the same share
    of every layer, and no branches. criterion: which units of a group go first. heads: attention heads leave
    "whole", or all get "narrower" alike. branches: whether whole residual branches may leave. reconstruct:
    before any training, weights are fitted by least squares to what the whole network's layers gave; needs no
    labels. steps: prune a little, retrain, again, until the ratio is reached or too much quality is lost; the
    epochs are shared out among them. epochs, lr, batch, temperature, soft: retraining with the original as
    teacher (``nets.train``); none without training data. protect: layers, or modules of layers, that stay.
    """

    name: ClassVar[str] = "prune.channels"
    beyond: ClassVar[str] = "would empty a layer"
    ratio: Annotated[float, Range(0.05, 0.95)] = 0.3
    cost: Cost = "seconds"
    parameters: Annotated[float, Range(0, 0.95)] = 0.0
    scope: Scope = "global"
    criterion: str = "taylor"
    heads: Heads = "whole"
    branches: bool = True
    reconstruct: bool = True
    steps: Annotated[int, Range(1, 100)] = 1
    protect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        criterion(self.criterion)

    @property
    def asks_device(self) -> bool:
        """Where it carves by time."""
        return self.cost == "seconds"

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
                return f"{field} = {share:g} {self.beyond}: {most}"
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where a name in ``protect`` is no layer of the model."""
        known = parts(model, self.heads)
        made = self._in_steps(model, goal)
        notes = (
            *made.notes,
            *self._file(model, made),
            *changes(known, made.network, made.reasons),
            *protected(known.groups, self.protect),
        )
        said = summary(known, made.network, made.shares, self.cost)
        return model.then(
            made.network, Step(name=self.name, settings=self.settings(), summary=said, notes=notes)
        )

    def remedies(self) -> tuple[Pass, ...]:
        """Smaller ratios, then the same ratio with more retraining."""
        smaller = tuple(replace(self, ratio=r) for r in (0.2, 0.1) if r < self.ratio)
        return (*smaller, replace(self, epochs=2 * self.epochs)) if self.epochs else smaller

    def _in_steps(self, model: Model, goal: Goal) -> Stage:
        """Step by step; the last one whose loss is within the budget."""
        watch = Watch(model.network, goal) if self.steps > 1 else None
        stage = Stage(model.network)
        each = zip(ramp(self.ratio, self.steps), shared_out(self.epochs, self.steps), strict=True)
        for gone, epochs in each:
            wanted = (1 - gone, 1 - self.parameters * gone / self.ratio)
            if stage.shares[0] <= wanted[0] and stage.shares[1] <= wanted[1]:
                continue
            after = self._further(model, stage, goal, wanted, epochs)
            if after is None:
                return _noted(stage, f"stopped before {100 * gone:.0f} %: no more can leave")
            if watch is None:
                return after
            lost = watch.lost(after.network)
            word = f"{100 * gone:.0f} % of the {self.cost} gone: {100 * lost:+.2f} points lost"
            if lost > watch.allowed:
                word += f" on validate, {100 * watch.allowed:g} allowed"
                if stage.network is model.network:
                    return _noted(after, f"stopped at the first step: {word}")
                return _noted(stage, f"stopped and went back a step: {word}")
            stage = _noted(after, word)
        return stage

    def _further(
        self, model: Model, stage: Stage, goal: Goal, wanted: Shares, epochs: int
    ) -> Stage | None:
        """The network cut down to these shares of the original, mended and retrained; None where it
        cannot get so far."""
        now = replace(model, network=stage.network)
        space = self._space(now, goal)
        left = tuple(min(w / s, 1.0) for w, s in zip(wanted, stage.shares, strict=True))
        least = space.shares(space.lowest())
        if not space.free or any(a > b for a, b in zip(least, left, strict=True)):
            return None
        space.order_by(criterion(self.criterion).score(now, space.parts.groups, goal))
        rehearsal = Rehearsal(now, space.parts, goal)
        descent = SCOPES[self.scope](space, rehearsal, goal)
        choice = choose(now, space, descent, goal, self.cost, left)
        plan = choice.plan
        network, mending = mended(
            carved(now, space, plan), now, channels_left(now.network, space, plan), goal,
            self.reconstruct,
        )  # fmt: skip
        network, training = self.retrained(network, model.network, goal, epochs)
        why = reasons(space, plan, criterion(self.criterion).why, rehearsal, self.cost)
        shares = (stage.shares[0] * choice.share, stage.shares[1] * space.shares(plan)[1])
        notes = (*stage.notes, choice.how, *mending, *training)
        return Stage(network, shares, notes, {**stage.reasons, **why})

    def _file(self, model: Model, made: Stage) -> tuple[str, ...]:
        """What the exported file really is, where bytes were asked for."""
        if self.cost != "bytes":
            return ()
        before, after = (
            len(export_onnx(m).content) for m in (model, replace(model, network=made.network))
        )
        return (
            f"the exported file has {after:,} bytes of {before:,}: {100 * after / before:.0f} %",
        )

    def _space(self, model: Model, goal: Goal) -> Space:
        found = parts(model, self.heads)
        costs: tuple[Cost, ...] = (self.cost, "parameters")
        prices = tuple(
            Prices(model, found.groups, goal.device, cost, goal.kernels) for cost in costs
        )
        free = unprotected(found, self._protected(model), f"{self.name}.protect")
        if not self.branches or self.scope == "local":
            free = tuple(p for p in free if isinstance(p, Group))
        return movable(found, free, prices, self._bounds(model))

    def _bounds(self, model: Model) -> Bounds:
        """As far as no layer is left empty."""
        return Bounds()

    def _protected(self, model: Model) -> tuple[str, ...]:
        return self.protect


def _noted(stage: Stage, word: str) -> Stage:
    return replace(stage, notes=(*stage.notes, word))
