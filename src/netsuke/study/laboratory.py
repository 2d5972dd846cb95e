"""Where a study tries recipes: the original measured once, what passes made kept, every trial measured alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netsuke.clock import LiveClock, LiveKernels
from netsuke.core.budget import Budget
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence, find
from netsuke.core.recipe import Recipe
from netsuke.study.prefixes import Prefixes
from netsuke.workbench import State, Workbench

if TYPE_CHECKING:
    from netsuke.nets.proxies.proxy import Proxy

OBJECTIVES = {
    "size": "bytes on disk", "stored": "bytes of the stored form", "latency": "seconds a call",
    "memory": "peak bytes", "energy": "joules an inference", "drop": "points of quality lost",
}  # fmt: skip
"""What a study can make less, and in what it is said."""
PROBES: dict[str, set[str]] = {
    "size": set(), "quality": set(), "estimate": set(), "stored": {"stored"},
    "latency": {"latency", "latency_p95"}, "memory": {"memory"},
}  # fmt: skip
"""Probes by what they are asked for: an objective or a limit; nothing where they always are."""
TOLERANCE = 0.01
"""A limit on lost quality of less than a point is exceeded in parts of a point."""

MOST_LOST = 0.1
"""As a share: what loses as much quality is worth nothing, however small it is."""
SCORED = 32
"""Samples that a proxy looks at."""
TRIES = 3
"""How often a trial is measured before what is missing is called so."""


@dataclass(frozen=True)
class Result:
    """What a trial came to. over: by how much, as a share, it is beyond its worst limit."""

    state: State
    values: dict[str, float]
    over: float
    working: float
    measuring: float


class Laboratory:
    """Tries recipes on one model for one goal, on the validation samples."""

    def __init__(
        self,
        bench: Workbench,
        original: State,
        prefixes: Prefixes,
        objectives: Sequence[str],
        proxy: "Proxy | None" = None,
    ) -> None:
        self.bench, self.original, self.prefixes = bench, original, prefixes
        self.objectives, self.proxy = tuple(objectives), proxy
        self.cost_limits = replace(bench.goal.budget, drop=None, robustness_drop=None).limits()
        self._kernels = (
            LiveKernels(bench.link, bench.goal.team) if bench.goal.device.measured else None
        )
        wanted = {*self.objectives, *bench.goal.budget.limits()}
        self._probes = tuple(p for p, found in PROBES.items() if not found or found & wanted)

    def carve(self, recipe: Recipe) -> State:
        """The exported model after the recipe. Raises RefusedError where a pass cannot help."""
        clock = LiveClock(self.bench, self.original)
        goal = replace(self.bench.goal, clock=clock, kernels=self._kernels)
        return self.bench.state(self.prefixes.follow(self.original.model, recipe, goal))

    def measure(self, recipe: Recipe) -> Result:
        """Carve and measure. Raises as ``carve``, and NetsukeError where nothing can be measured."""
        return self._result(recipe, self._measured, self.objectives, self.bench.goal.budget)

    def costs(self, recipe: Recipe) -> Result:
        """Carve, and measure what it costs; not how good it is. Raises as ``measure``."""
        objectives = tuple(o for o in self.objectives if o != "drop")
        return self._result(recipe, self._costly, objectives, Budget(**self.cost_limits))

    def score(self, state: State, proxy: "Proxy") -> float:
        """What a proxy makes of its network. Raises NetsukeError where it can make nothing of it."""
        from netsuke.nets.data import batches

        inputs, _ = next(batches(self.bench.goal.data.calibrate, SCORED))
        return proxy.score(state.model.network, inputs)

    def _result(
        self,
        recipe: Recipe,
        measured: Callable[[State], tuple[Evidence, ...]],
        objectives: Sequence[str],
        limits: Budget,
    ) -> Result:
        start = time.monotonic()
        state = self.carve(recipe)
        carved = time.monotonic()
        found = measured(state)
        values = {name: self.value(name, found) for name in objectives}
        over = exceeded(found, limits, self.bench.goal.device.name)
        state = replace(state, evidence=found)
        return Result(state, values, over, carved - start, time.monotonic() - carved)

    def _costly(self, state: State) -> tuple[Evidence, ...]:
        """All that needs no samples."""
        probes = tuple(p for p in self._probes if p != "quality")
        return self.bench.measure(state, self.original, None, probes)

    def _measured(self, state: State) -> tuple[Evidence, ...]:
        """All that is asked for; again where a busy machine left a limit unmeasured."""
        missing: list[str] = []
        for _ in range(TRIES):
            found = self.bench.measure(
                state, self.original, self.bench.goal.data.validate, self._probes
            )
            missing = self._missing(state, found)
            if not missing:
                return found
        where = self.bench.goal.device.name
        raise NetsukeError(f"study: {', '.join(missing)} could not be measured on {where}")

    def _missing(self, state: State, found: tuple[Evidence, ...]) -> list[str]:
        """Limits of which nothing is known. The original itself loses nothing."""
        wanted = set(self.bench.goal.budget.limits())
        if state.artifact.sha256 == self.original.artifact.sha256:
            wanted -= {"drop"}
        return [n for n in sorted(wanted) if _known(found, n, self.bench.goal.device.name) is None]

    @property
    def worth(self) -> tuple[float, ...]:
        """Of each objective, what is worth nothing from there on: what the original costs, and some points of quality;
        infinite where the original was not measured for it."""
        return tuple(MOST_LOST if o == "drop" else self._costs_at_first(o) for o in self.objectives)

    def _costs_at_first(self, objective: str) -> float:
        try:
            return self.value(objective, self.original.evidence)
        except NetsukeError:
            return float("inf")

    def value(self, objective: str, found: tuple[Evidence, ...]) -> float:
        """An objective's figure; the less the better."""
        device = self.bench.goal.device.name
        ratio = find(found, "speedup", device)
        base = find(self.original.evidence, "latency_p50", device)
        if objective == "latency" and ratio is not None and base is not None:
            return base.value / ratio.value
        name = "latency_p50" if objective == "latency" else objective
        known = _known(found, name, device)
        if known is None and objective == "drop":
            # The original itself is compared with nothing.
            return 0.0
        if known is None:
            raise NetsukeError(f"study: nothing measures {objective} on {device}")
        return known.value


def exceeded(found: tuple[Evidence, ...], budget: Budget, device: str) -> float:
    """By how much, as a share, the worst limit is exceeded; 0 or less within all of them."""
    over = [0.0]
    for name, limit in budget.limits().items():
        known = _known(found, name, device)
        if known is not None:
            beyond = known.value - limit
            over.append(beyond / max(limit, TOLERANCE if name == "drop" else 1e-12))
    return max(over)


def _known(found: tuple[Evidence, ...], name: str, device: str) -> Evidence | None:
    """On the device, else here."""
    return find(found, name, device) or find(found, name, "local")
