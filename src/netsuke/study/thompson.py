"""Proposals for studies of few trials: what a pass does to a figure is taken to be a factor, whatever stands beside it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from netsuke.core.choices import Chooser
from netsuke.core.data import Array
from netsuke.study.front import Point, foremost, gained

FEW = 3
"""Trials that must have ended well until anything is made of their figures."""
DRAWN, NEAR = 150, 150
"""Proposals that are compared: from anywhere, and beside those of the front."""
NOISE, WIDE = 0.15, 0.5
"""Standard deviations of what the factors do not explain, and of what they may be before anything is known."""
BESIDE = 0.1
"""How much numbers differ, as a share, that are next to each other."""
FLOOR = 0.01
"""Of the worth of a figure: below it, less is no more worth the while."""

Draw = Callable[[Chooser], Any]
Choices = Mapping[str, Any]


class Thompson(BaseSampler):
    """Bayesian linear regression of the logarithms of what is to be small, and of what a trial takes, on the choices; drawn
    from it once a proposal (Thompson, 1933; on choices Baptista and Poloczek, 2018, "Bayesian optimization of combinatorial
    structures"). Of many proposals that is taken which adds most to the front's volume by the second.

    draw: makes all choices of a proposal. worth: what is as large as this is worth nothing, one for each objective;
    infinite where that is the largest seen.
    """

    def __init__(self, draw: Draw, worth: Sequence[float], seed: int) -> None:
        self._draw, self._worth, self._reference = draw, tuple(worth), (1.0,) * len(worth)
        self._chance, self._normal = random.Random(seed), np.random.default_rng(seed)
        self._given: dict[int, Choices] = {}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        done = [t for t in earlier if t.state is TrialState.COMPLETE]
        if done:
            self._given[trial.number] = self._chosen(done, earlier)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        made = _Made(self._chance, self._given.get(trial.number, {}))
        if isinstance(param_distribution, CategoricalDistribution):
            return made.one_of(param_name, param_distribution.choices)
        low, high = param_distribution.low, param_distribution.high  # type: ignore[attr-defined]
        return made.number(param_name, low, high)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._given.pop(trial.number, None)

    def _chosen(self, done: Sequence[FrozenTrial], earlier: Sequence[FrozenTrial]) -> Choices:
        """The best of many proposals; while little is known, one beside what is."""
        points = self._points(done)
        ahead = foremost(points, self._reference)
        known = [t.params for t in earlier]
        refused = [t.params for t in earlier if t.state is TrialState.FAIL]
        options = [
            one
            for one in self._options([done[i].params for i in ahead] or [t.params for t in done])
            if one not in known and not any(_alike(one, other) for other in refused)
        ]
        if len(done) < FEW or not options:
            return options[-1] if options else {}
        values, seconds = self._told(done, points, options)
        front = [points[i] for i in ahead]
        gain = np.array([gained(front, tuple(v), self._reference) for v in values])
        return options[int(np.argmax(gain / seconds))]

    def _told(
        self, done: Sequence[FrozenTrial], points: Sequence[Point], options: Sequence[Choices]
    ) -> tuple[Array, Array]:
        """(what each option would come to, the seconds it would take), by one draw."""
        features = _Features([t.params for t in done])
        seen, wanted = features.of([t.params for t in done]), features.of(options)
        targets = np.log(np.maximum(points, FLOOR)).T
        values = np.exp(np.stack([self._drawn(seen, y, wanted) for y in targets], 1))
        spent = np.log([_seconds(t) for t in done])
        return values, np.exp(self._drawn(seen, spent, wanted))

    def _points(self, done: Sequence[FrozenTrial]) -> list[Point]:
        """As shares of what is worth nothing; beyond a limit all is."""
        largest = np.max([t.values for t in done], 0)
        worth = np.where(np.isinf(self._worth), np.maximum(largest, 1e-12), self._worth)
        rows = [np.array(t.values) / worth for t in done]
        over = [float(t.user_attrs.get("over", 0.0)) > 0 for t in done]
        return [
            tuple(map(float, np.maximum(row, 1.0) if beyond else row))
            for row, beyond in zip(rows, over, strict=True)
        ]

    def _options(self, beside: Sequence[Choices]) -> list[Choices]:
        """Proposals from anywhere, and some that keep all but one or two choices of another."""
        found = [self._proposed({}) for _ in range(DRAWN)]
        for _ in range(NEAR if beside else 0):
            parent = dict(self._chance.choice(beside))
            for name in self._chance.sample(
                list(parent), min(len(parent), self._chance.choice((1, 2)))
            ):
                del parent[name]
            found.append(self._proposed(parent))
        return found

    def _proposed(self, kept: Choices) -> Choices:
        made = _Made(self._chance, kept)
        self._draw(made)
        return made.choices

    def _drawn(self, seen: Array, y: Array, wanted: Array) -> Array:
        """Of the wanted, what one draw of the factors says."""
        mean, scale = y.mean(), max(float(y.std()), 1e-6)
        precision = seen.T @ seen / NOISE**2 + np.eye(seen.shape[1]) / WIDE**2
        lower = np.linalg.cholesky(precision)
        weights = np.linalg.solve(precision, seen.T @ ((y - mean) / scale) / NOISE**2)
        weights = weights + np.linalg.solve(lower.T, self._normal.standard_normal(len(weights)))
        found: Array = mean + scale * (wanted @ weights)
        return found


class _Made:
    """Chooses by chance, but for what is kept; remembers what it chose."""

    def __init__(self, chance: random.Random, kept: Choices) -> None:
        self._chance, self._kept, self.choices = chance, kept, dict[str, Any]()

    def one_of(self, name: str, options: Sequence[Any]) -> Any:
        kept = self._kept.get(name)
        self.choices[name] = kept if kept in options else self._chance.choice(list(options))
        return self.choices[name]

    def number(self, name: str, low: float, high: float) -> float:
        kept = self._kept.get(name)
        self.choices[name] = _number(self._chance, low, high) if kept is None else kept
        number: float = self.choices[name]
        return number


class _Features:
    """A column for each value that a choice had, and a number with its square."""

    def __init__(self, seen: Sequence[Choices]) -> None:
        names = {name: [one[name] for one in seen if name in one] for one in seen for name in one}
        self._numbers = {
            n: max(abs(v) for v in vs) or 1.0 for n, vs in names.items() if _is_number(vs)
        }
        self._columns = [
            (n, v) for n, vs in names.items() if n not in self._numbers for v in dict.fromkeys(vs)
        ]

    def of(self, many: Sequence[Choices]) -> Array:
        rows = [
            [1.0, *(float(one.get(n) == v) for n, v in self._columns),
             *(x for n, most in self._numbers.items() for x in _powers(one.get(n, 0.0) / most))]
            for one in many
        ]  # fmt: skip
        return np.array(rows)


def _powers(x: float) -> tuple[float, float]:
    return x, x * x


def _is_number(values: Sequence[Any]) -> bool:
    return all(isinstance(v, float) for v in values)


def _number(chance: random.Random, low: float, high: float) -> float:
    return chance.randint(low, high) if isinstance(low, int) else chance.uniform(low, high)  # type: ignore[arg-type]


def _alike(one: Choices, other: Choices) -> bool:
    """The same choices, and numbers next to each other: where one was refused, so is the other."""
    return one.keys() == other.keys() and all(
        abs(v - other[n]) <= BESIDE * abs(other[n]) if isinstance(v, float) else v == other[n]
        for n, v in one.items()
    )


def _seconds(trial: FrozenTrial) -> float:
    spent = trial.user_attrs.get("seconds", {})
    return max(float(spent.get("busy", 1.0)), 0.1)
