"""Unstructured and N:M pruning: single weights become zero."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.core.registry import named
from netsuke.nets.protect import check_named, is_named
from netsuke.nets.quantizers.lookup import lookups
from netsuke.nets.quantizers.quantizer import quantizers
from netsuke.nets.sparse.allocate import Scope, least_kept
from netsuke.nets.sparse.layers import Layer, layers, others, value
from netsuke.nets.sparse.pattern import Pattern, parse
from netsuke.nets.sparse.saliency import Saliency
from netsuke.nets.sparse.schedule import Job, Rewind, Schedule, table
from netsuke.passes.prune.sparse_wording import BUYS, changes, summary
from netsuke.passes.training import RetrainingPass


@dataclass(frozen=True, kw_only=True)
class Weights(RetrainingPass):
    """Make single weights zero, the least important first (Han et al., 2015), and keep them so.

    sparsity: the share of the prunable weights that leaves. pattern: "free", or n:m such as "2:4",
    which leaves n of each m weights along a layer's inputs and then says the sparsity. criterion:
    which leave first (``passes/prune/saliency``). scope: one threshold for all layers, the same share
    of each, or more of the larger ones ("erk"). when: "gradual" while it trains, "iterative" while
    the quality lasts, "rigl", "movement", "gates", or "once"; without training data it is always
    "once". rebuild: calibration samples by which the rest makes up for what leaves at once, 0 for
    none. steps, rewind: of iterative pruning. protect: layers, or modules of layers, that stay as they
    are; ends: whether the first and the last layer may be pruned; least: so does any layer of fewer
    weights.
    """

    name: ClassVar[str] = "prune.weights"

    sparsity: Annotated[float, Range(0.01, 0.999)] = 0.8
    pattern: str = "free"
    criterion: str = "magnitude"
    scope: Scope = "global"
    when: str = "gradual"
    rebuild: Annotated[int, Range(0, 100_000)] = 256
    steps: Annotated[int, Range(1, 100)] = 4
    rewind: Rewind = "rate"
    lr: Annotated[float, Range(1e-6, 10)] = 0.05
    protect: tuple[str, ...] = ()
    ends: bool = True
    least: Annotated[int, Range(0, 1_000_000_000)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._saliency(), self._schedule()
        if not self._pattern.free and self._schedule().moves:
            raise NetsukeError(
                f'{self.name}: when = "{self.when}" moves zeros, which a pattern of {self.pattern} '
                'does not allow; take "gradual"'
            )

    @property
    def asks_device(self) -> bool:
        """The same zeros for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where weights are quantized already, none may leave, or a layer would be left empty."""
        network = model.network
        if any(q.constant for q in quantizers(network)) or any(True for _ in lookups(network)):
            return "its weights are quantized already; prune before"
        chosen, why = self._chosen(network)
        if not chosen:
            return "no weight can leave: " + ("; ".join(why[:3]) or "it has no layers to prune")
        empty = least_kept(chosen, self._sparsity, (self._pattern, self.scope))
        if empty is not None:
            return (
                f"sparsity = {self.sparsity:g} would empty {empty.name} ({empty.size} weights); "
                "take less, or protect it"
            )
        if self._saliency().labels and goal.data.train is None:
            return f'criterion "{self.criterion}" needs training data with labels; "obd" needs none'
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where a name in ``protect`` is no layer, or weights are NaN or infinite."""
        chosen, why = self._chosen(model.network)
        _check_finite(model.network, chosen)
        job = Job(
            model, goal, chosen, self._saliency(), self._sparsity, self.plan(), self._pattern,
            self.scope, self.rebuild, self.steps, self.rewind,
        )  # fmt: skip
        said: tuple[str, ...] = ()
        schedule = self._schedule()
        if schedule.trains and not job.trains:
            schedule, said = _schedule("once"), (f"at once, for {self.when} needs training data and epochs",)  # fmt: skip
        pruned = schedule.prune(job)
        left = table(pruned.network, chosen)
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=summary(left, self.pattern),
            notes=(*said, *pruned.notes, BUYS, *changes(model.network, left, self.criterion), *why),
            table={"layers": left, "rungs": [list(rung) for rung in pruned.rungs]},
        )
        return model.then(pruned.network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Three quarters of it, half of it; then the same with more training."""
        fewer = tuple(replace(self, sparsity=round(s * self.sparsity, 3)) for s in (0.75, 0.5))
        smaller = fewer if self._pattern.free and self.sparsity >= 0.02 else ()
        return (*smaller, replace(self, epochs=2 * self.epochs)) if self.epochs else smaller

    @property
    def _pattern(self) -> Pattern:
        return parse(self.pattern)

    @property
    def _sparsity(self) -> float:
        return self.sparsity if self._pattern.free else self._pattern.sparsity

    def _saliency(self) -> Saliency:
        return named(Saliency, "netsuke.passes.prune.saliency", self.criterion)()  # type: ignore[type-abstract]

    def _schedule(self) -> Schedule:
        return _schedule(self.when)

    def _chosen(self, network: GraphModule) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
        """The layers to prune, and a line for each weight that is protected."""
        found = layers(network)
        self._check_names(found)
        chosen, why = [], []
        for layer in found:
            reason = self._reason(layer, found)
            if reason is None:
                chosen.append(layer)
            else:
                why.append(f"protected: {layer.name} ({reason})")
        why += [f"protected: {name} ({reason})" for name, reason in others(network)]
        return tuple(chosen), tuple(why)

    def _reason(self, layer: Layer, found: Sequence[Layer]) -> str | None:
        if any(is_named(name, self.protect) for name in (layer.name, layer.weight)):
            return "asked for"
        if not self.ends and layer in (found[0], found[-1]):
            return "the first or the last layer"
        if layer.size < self.least:
            return f"{layer.size} weights, fewer than {self.least}"
        if not self._pattern.fits(layer):
            inside = layer.shape[layer.inputs]
            return f"{inside} inputs are no whole runs of {self._pattern.of}"
        return None

    def _check_names(self, found: Sequence[Layer]) -> None:
        known = {name for layer in found for name in (layer.name, layer.weight)}
        check_named(f"{self.name}.protect", self.protect, known, [layer.name for layer in found])


def _schedule(name: str) -> Schedule:
    return named(Schedule, "netsuke.passes.prune.schedules", name)()  # type: ignore[type-abstract]


def _check_finite(network: GraphModule, chosen: Sequence[Layer]) -> None:
    for layer in chosen:
        if not bool(torch.isfinite(value(network, layer.weight)).all()):
            raise NetsukeError(
                f"{layer.weight}: the weight holds NaN or infinite values; mend the model"
            )
