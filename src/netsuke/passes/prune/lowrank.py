"""Low rank: layers become two thinner ones where that costs less and harms little."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.core.goal import Clock, Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.nets.distillation.losses import soft_loss
from netsuke.nets.evaluation import evaluating, some_batches
from netsuke.nets.graph import clone
from netsuke.nets.lowrank.forms import Form, Problem, errors, factors
from netsuke.nets.lowrank.split import bias_of, divisible, settle, split
from netsuke.nets.moments import moments, weight_of
from netsuke.nets.protect import check_named, is_named
from netsuke.nets.samples import Calibration
from netsuke.passes.prune.mend import mended
from netsuke.passes.prune.prices import Cost
from netsuke.passes.prune.ranks import Market, Option, cheapest, most
from netsuke.passes.prune.retraining import RetrainedPass

SAMPLES, JUDGED = 500, 128
"""Calibration samples for second moments, and for how much a layer's error matters."""
TEMPERATURE = 4.0
PROBE = 0.1
"""The share of a layer's variance that is lost where its sensitivity is found out, about."""
READINGS = 8
"""How often the clock is asked about kinds of splits; those it was not asked about stay whole."""
GAIN = 0.995
"""A reading above this share of the whole is no gain: clocks are no better."""

SPARSE = 0.1
"""A layer with this share of zeros was pruned: its two halves would have none, so it stays whole."""

Chosen = Mapping[str, Option]


@dataclass(frozen=True, kw_only=True)
class LowRank(RetrainedPass):
    """Split linear layers and convolutions in two (Jaderberg et al., 2014; Zhang et al., 2016).

    ratio: the share of the cost that leaves. cost: time on the goal's device, MACs, parameters or bytes;
    where the goal has a clock, layers that it finds no faster when split stay whole. form: "channel"
    makes fewer channels first, then all of them; "spatial" a k×1 kernel, then a 1×k one; "best" what
    harms less for the gain. data: whether outputs, not weights, are kept near, on calibration data.
    reconstruct: the second halves are fitted once more, in order, to what the whole network gave.
    protect: layers, or modules of layers, that stay whole.
    """

    name: ClassVar[str] = "prune.lowrank"
    ratio: Annotated[float, Range(0.02, 0.95)] = 0.2
    cost: Cost = "seconds"
    form: Literal["best", "channel", "spatial"] = "best"
    data: bool = True
    reconstruct: bool = True
    protect: tuple[str, ...] = ()

    @property
    def asks_device(self) -> bool:
        """Where it carves by time."""
        return self.cost == "seconds"

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where no split costs less, or all together not so much."""
        market = self._market(model, goal)
        if not market.options and _sparse(market, model):
            return "its layers hold zeros, which two halves would not keep; prune after, not before"
        if not market.options:
            return f"no layer costs fewer {self.cost} as two of lower rank"
        share = most(market.options) / market.whole
        if share < self.ratio:
            return f"ratio = {self.ratio:g} is more than low rank can save: at most {100 * share:.0f} % of the {self.cost}"
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where a name in ``protect`` is no layer of the model."""
        market = self._market(model, goal)
        damages = self._damages(model, market, goal)
        chosen, how = self._choose(model, market, damages, goal)
        network = self._split(model, chosen, goal)
        network, mending = mended(network, model, {}, goal, self.reconstruct)
        network, training = self.retrained(network, model.network, goal, self.epochs)
        lines = (_said(model, market, option, damages) for option in chosen.values())
        saved = 100 * sum(o.saves for o in chosen.values()) / market.whole
        summary = f"−{saved:.0f} % of {self.cost}: {len(chosen)} of {len(market.nodes)} layers split in two"
        whole = (
            f"stays whole: {layer} is {100 * share:.0f} % zeros, which two halves would not keep"
            for layer, share in _sparse(market, model).items()
        )
        notes = (*how, *mending, *training, *lines, *whole)
        step = Step(name=self.name, settings=self.settings(), summary=summary, notes=notes)
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Half as much, then more retraining."""
        less = (replace(self, ratio=self.ratio / 2),) if self.ratio >= 0.1 else ()
        return (*less, replace(self, epochs=2 * self.epochs)) if self.epochs else less

    def _market(self, model: Model, goal: Goal) -> Market:
        wanted: tuple[Form, ...] = ("channel", "spatial")
        if self.form != "best":
            wanted = (self.form,)
        market = Market(model, goal, self.cost, wanted)
        check_named(f"{self.name}.protect", self.protect, market.nodes)
        sparse = _sparse(market, model)
        for layer in [n for n in market.options if n in sparse or is_named(n, self.protect)]:
            del market.options[layer]
        return market

    def _problems(
        self, model: Model, network: GraphModule, nodes: Mapping[str, Node], goal: Goal
    ) -> Iterable[tuple[str, Problem]]:
        """Each layer with the data it reads, one after the other."""
        if not self.data:
            for name, node in nodes.items():
                yield name, Problem(weight_of(network, node), bias_of(network, node), None)
            return
        names = {node: name for name, node in nodes.items()}
        data = Calibration(model, goal, SAMPLES)
        for node, found in moments(network, list(names), data, goal.seed, constant=True):
            yield names[node], Problem(weight_of(network, node), bias_of(network, node), found[0])

    def _damages(self, model: Model, market: Market, goal: Goal) -> dict[str, dict[Option, float]]:
        """How far each option moves the network's outputs: measured for one rank of each layer, and in
        proportion to the layer's own error for the others."""
        nodes = {name: market.nodes[name] for name in market.options}
        rehearsal = _Rehearsal(model, goal)
        found = {}
        problems = self._problems(model, model.network, nodes, goal)
        for name, problem in goal.track(problems, "what layers lose at lower ranks"):
            lost: dict[Option, float] = {}
            for form in dict.fromkeys(o.form for o in market.options[name]):
                options = [o for o in market.options[name] if o.form == form]
                ranks = tuple(o.rank for o in options)
                lost |= dict(zip(options, errors(form, problem, ranks), strict=True))
            probe = min(lost, key=lambda o: (abs(lost[o] - PROBE), o.rank))
            moved = rehearsal.damage(name, probe, problem)
            found[name] = {o: e * moved / max(lost[probe], 1e-9) for o, e in lost.items()}
        return found

    def _choose(
        self, model: Model, market: Market, damages: dict[str, dict[Option, float]], goal: Goal
    ) -> tuple[dict[str, Option], tuple[str, ...]]:
        """The layers that split, and what the clock said of them."""
        saving = self.ratio * market.whole
        chosen = cheapest(damages, saving)
        if self.cost != "seconds" or goal.clock is None:
            return chosen, ()
        clocked = _Clocked(model, goal.clock, lambda trial: self._split(model, trial, goal))
        left, notes, sure = dict(damages), list[str](), set[Kind]()
        for _ in range(READINGS):
            kinds = _kinds(model, market, chosen)
            new = next((k for k in kinds if k not in sure), None)
            if new is None:
                break
            share = clocked.share({layer: chosen[layer] for layer in kinds[new]})
            if share <= GAIN:
                sure.add(new)
                continue
            some = ", ".join(kinds[new][:3]) + (" …" if len(kinds[new]) > 3 else "")
            notes.append(
                f"not split so: {some}: {100 * share:.0f} % of the time ({_words(new[1][0])})"
            )
            for layer in kinds[new]:
                left[layer] = {o: d for o, d in left[layer].items() if o.form != new[1][0]}
            chosen = cheapest(left, saving)
        kinds = _kinds(model, market, chosen)
        chosen = {layer: chosen[layer] for k in kinds if k in sure for layer in kinds[k]}
        share = clocked.share(chosen) if chosen else 1.0
        said = f"{100 * share:.0f} % of the time is left by the clock"
        return chosen, (f"{said}, {100 * (1 - self.ratio):.0f} % was asked for", *notes)

    def _split(self, model: Model, chosen: Chosen, goal: Goal) -> GraphModule:
        """A copy of the network with the chosen layers in two."""
        network = clone(model.network)
        nodes = {name: node for name, node in divisible(network).items() if name in chosen}
        made = {
            name: factors(chosen[name].form, problem, chosen[name].rank)
            for name, problem in self._problems(model, network, nodes, goal)
        }
        for name, halves in made.items():
            split(network, name, nodes[name], chosen[name].form, halves)
        return settle(network)


@dataclass(frozen=True)
class _Clocked:
    """Shares of the whole's time by the goal's clock."""

    model: Model
    clock: Clock
    split: Callable[[Chosen], GraphModule]

    @cached_property
    def whole(self) -> float:
        return self.clock(self.model)

    def share(self, trial: Chosen) -> float:
        whole = self.whole
        return self.clock(replace(self.model, network=self.split(trial))) / whole


class _Rehearsal:
    """How far the outputs move when one layer is replaced."""

    def __init__(self, model: Model, goal: Goal) -> None:
        self._network, self._distance = model.network, soft_loss(goal.data, TEMPERATURE)
        self._batches = [x for x, _ in some_batches(goal.data.calibrate, JUDGED)]
        with evaluating(self._network):
            self._wanted = [self._network(*x) for x in self._batches]

    def damage(self, layer: str, option: Option, problem: Problem) -> float:
        network = clone(self._network)
        made = factors(option.form, problem, option.rank)
        split(network, layer, divisible(network)[layer], option.form, made)
        settle(network)
        total = torch.zeros(())
        with evaluating(network):
            for x, wanted in zip(self._batches, self._wanted, strict=True):
                total += self._distance(network(*x), wanted) * len(x[0])
        return max(float(total), 0.0) / sum(len(x[0]) for x in self._batches)


Kind = tuple[tuple[tuple[int, ...], ...], tuple[str, int]]
"""What takes the same time: shapes, form and rank."""


def _sparse(market: Market, model: Model) -> dict[str, float]:
    """The layers that were pruned, and their shares of zeros."""
    shares = {
        name: float((weight_of(model.network, node) == 0).float().mean())
        for name, node in market.nodes.items()
    }
    return {name: share for name, share in shares.items() if share >= SPARSE}


def _kind(option: Option) -> tuple[str, int]:
    return option.form, option.rank


def _kinds(model: Model, market: Market, chosen: Chosen) -> dict[Kind, list[str]]:
    found: dict[Kind, list[str]] = {}
    for layer, option in chosen.items():
        key = market.shape_of(model.network, layer), _kind(option)
        found.setdefault(key, []).append(layer)
    return found


def _words(form: str) -> str:
    return {"channel": "channels first", "spatial": "columns, then rows"}[form]


def _said(
    model: Model, market: Market, option: Option, damages: dict[str, dict[Option, float]]
) -> str:
    shape: Tensor = weight_of(model.network, market.nodes[option.layer])
    return (
        f"{option.layer}: {'×'.join(map(str, shape.shape))} in two of rank {option.rank} ({_words(option.form)}), "
        f"−{100 * option.saves / market.whole:.1f} % of the cost; alone it moves the outputs by "
        f"{damages[option.layer][option]:.2g}"
    )
