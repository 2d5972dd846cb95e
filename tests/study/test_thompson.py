"""Proposals by what choices do to figures: against chance, and what was refused."""

import statistics
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from netsuke.core.choices import Chooser
from netsuke.study.front import hypervolume
from netsuke.study.thompson import Thompson, _alike

WORTH = (1.0, 1.0, 0.1)
BITS = {8: (0.26, 0.002), 6: (0.2, 0.01), 4: (0.14, 0.03)}


class Asked:
    """A trial's choices, as a space asks for them."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def one_of(self, name: str, options: Any) -> Any:
        return self.trial.suggest_categorical(name, list(options))

    def number(self, name: str, low: float, high: float) -> float:
        return self.trial.suggest_float(name, low, high)


def choices(chooser: Chooser) -> dict[str, Any]:
    """Channels that leave, then bits: a small space of recipes."""
    found: dict[str, Any] = {"prune": chooser.one_of("prune", ["no", "global", "local"])}
    if found["prune"] != "no":
        found["ratio"] = chooser.number("ratio", 0.1, 0.7)
    found["bits"] = chooser.one_of("bits", [32, 8, 6, 4])
    if found["bits"] != 32:
        found["rounding"] = chooser.one_of("rounding", ["nearest", "gptq"])
    return found


def figures(made: dict[str, Any]) -> tuple[float, float, float]:
    """(size, time, loss)."""
    size, late, lost, ratio = 1.0, 1.0, 0.0, made.get("ratio", 0.0)
    if ratio:
        size, late = 1 - ratio, 1 - ratio
        lost = 0.7 * ratio**2 if made["prune"] == "global" else 0.03 + 1.5 * ratio**2
    if made["bits"] != 32:
        smaller, worse = BITS[made["bits"]]
        size, late = size * smaller, 0.42 * late
        lost += worse * (0.2 if made["rounding"] == "gptq" else 1.0)
    return size, late, lost


def volume(make: Callable[[int], optuna.samplers.BaseSampler], seed: int, trials: int) -> float:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["minimize"] * 3, sampler=make(seed))
    points = []
    for _ in range(trials):
        trial = study.ask()
        found = figures(choices(Asked(trial)))
        trial.set_user_attr("seconds", {"busy": 1.0})
        study.tell(trial, found)
        points.append(tuple(f / w for f, w in zip(found, WORTH, strict=True)))
    return hypervolume(points, (1.0, 1.0, 1.0))


def test_it_finds_more_than_chance_in_as_many_trials() -> None:
    ours = [volume(lambda s: Thompson(choices, WORTH, s), seed, 16) for seed in range(6)]
    chance = [
        volume(lambda s: optuna.samplers.RandomSampler(seed=s), seed, 16) for seed in range(6)
    ]
    assert statistics.mean(ours) > 1.05 * statistics.mean(chance)


def test_the_same_seed_proposes_the_same() -> None:
    assert volume(lambda s: Thompson(choices, WORTH, s), 3, 8) == volume(lambda s: Thompson(choices, WORTH, s), 3, 8)  # fmt: skip


def test_what_was_refused_is_not_proposed_again() -> None:
    study = optuna.create_study(directions=["minimize"] * 3, sampler=Thompson(choices, WORTH, 0))
    refused = []
    for _ in range(24):
        trial = study.ask()
        made = choices(Asked(trial))
        if made["prune"] == "local" and made["ratio"] > 0.5:
            refused.append(dict(trial.params))
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, figures(made))
    for number, one in enumerate(refused):
        assert not any(_alike(one, other) for other in refused[:number])


def test_figures_without_a_worth_count_against_the_largest() -> None:
    assert volume(lambda s: Thompson(choices, (float("inf"),) * 3, s), 0, 8) > 0


@pytest.mark.parametrize(("one", "alike"), [({"a": "x", "r": 0.52}, True), ({"a": "x", "r": 0.6}, False), ({"a": "y", "r": 0.5}, False), ({"a": "x"}, False)])  # fmt: skip
def test_alike(one: dict[str, Any], alike: bool) -> None:
    assert _alike(one, {"a": "x", "r": 0.5}) is alike
