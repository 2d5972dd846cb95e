"""The search: recipes proposed by a sampler, tried in the laboratory, and remembered trial by trial."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsuke.core.choices import Chooser
from netsuke.core.errors import NetsukeError
from netsuke.core.recipe import Recipe
from netsuke.study.front import Found, front
from netsuke.study.halving import KEY
from netsuke.study.space import Space
from netsuke.study.storage import Storage
from netsuke.study.trial import Outcome
from netsuke.study.workers import Asked, Workers

if TYPE_CHECKING:
    import optuna

TRIES = 2
"""How often a recipe in which the process died is begun."""
REPEATS = 50
"""Proposals in a row that were tried before, after which there is nothing new to be had."""
SAMPLERS = ("thompson", "tpe", "nsga2", "nsga3", "random")


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, and how. mark: of the model, its data and the goal: what makes two studies the same.
    worth: of each objective, what is worth nothing from there on. student: the task's own, where it is a function of
    choices. several: whether trials run side by side."""

    space: Space
    objectives: tuple[str, ...]
    mark: str
    sampler: str = "thompson"
    seed: int = 0
    worth: tuple[float, ...] = ()
    several: bool = False
    student: Callable[[Chooser], Any] | None = None


class Study:
    """One study in its folder, on with what an earlier process left in its storage.

    Raises NetsukeError where it holds a study of something else.
    """

    def __init__(self, folder: Path, storage: Storage, search: Search) -> None:
        self.folder, self._search = folder, search
        self._study = _opened(folder, storage, search)
        self._begin_again()

    @property
    def _trials(self) -> list["optuna.trial.FrozenTrial"]:
        """Read, never written to."""
        return self._study.get_trials(deepcopy=False)

    @property
    def found(self) -> tuple[Found, ...]:
        """Every trial that was made and ended well."""
        done = [
            t for t in self._trials if t.state.name == "COMPLETE" and "again" not in t.user_attrs
        ]
        return tuple(_found(t, self._search.objectives) for t in done)

    @property
    def count(self) -> int:
        """Trials that are over, whatever came of them."""
        return sum(t.state.is_finished() and "again" not in t.user_attrs for t in self._trials)

    @property
    def spent(self) -> dict[str, float]:
        """Seconds: of all trials, carving and measuring; and beside them, of proposing, remembering and drawing."""
        each = [t.user_attrs["seconds"] for t in self._trials if "seconds" in t.user_attrs]
        return {"trials": sum(s["busy"] for s in each), "beside": sum(s["rest"] for s in each)}

    def front(self) -> tuple[Found, ...]:
        """What no other trial within the limits beats."""
        return front(self.found, self._search.objectives)

    def start_from(self, recipes: Sequence[Recipe]) -> None:
        """Try these first, as near as the space has them."""
        for recipe in recipes:
            choices = self._search.space.choices(recipe)
            if choices is not None:
                self._study.enqueue_trial(choices, skip_if_exists=True)

    def run(self, workers: Workers, trials: int, seconds: float | None = None) -> Iterator[str]:
        """On until so many trials are over, or so many seconds; says of each what came of it. A trial that fails
        is recorded, and the study goes on."""
        repeats, end = 0, time.monotonic() + (float("inf") if seconds is None else seconds)
        running: dict[int, optuna.Trial] = {}
        since = time.monotonic()
        while True:
            more = (
                self.count + len(running) < trials and repeats < REPEATS and time.monotonic() < end
            )
            if more and workers.room:
                trial, recipe = self._asked()
                if self._said_before(trial, recipe, running):
                    repeats += 1
                else:
                    repeats, running[trial.number] = 0, trial
                    workers.begin(Asked(trial.number, recipe, self._rungs()))
            elif running:
                beside = time.monotonic() - since
                asked, outcome = workers.ended()
                since = time.monotonic()
                self._record(running.pop(asked.number), outcome, beside)
                title = " → ".join(p.name for p in asked.recipe) or "nothing done"
                said = outcome.said() if outcome.reason else f"{title}: {outcome.said()}"
                yield f"trial {self.count} of {trials}: {said}; {len(self.front())} on the front"
            else:
                break
        if repeats == REPEATS:
            yield f"{self.count} recipes are all that was found in this space"

    def _asked(self) -> tuple["optuna.Trial", Recipe]:
        """The sampler's next proposal."""
        trial = self._study.ask()
        recipe = self._search.space.recipe(_Choices(trial), self._search.student)
        trial.set_user_attr("recipe", recipe.to_toml() if recipe.passes else "")
        return trial, recipe

    def _record(self, trial: "optuna.Trial", outcome: Outcome, beside: float) -> None:
        """beside: seconds since the trial before, in which none was waited for."""
        trial.set_user_attr(KEY, dict(outcome.rungs))
        trial.set_user_attr("seconds", {"busy": outcome.busy, "rest": outcome.rest + beside})
        if outcome.reason:
            self._failed(trial, outcome.reason)
            return
        trial.set_user_attr("place", outcome.place)
        self._tell(trial, outcome.values, outcome.over)

    def _rungs(self) -> list[dict[str, Any]]:
        """What trials came to on their rungs."""
        return [t.user_attrs[KEY] for t in self._trials if KEY in t.user_attrs]

    def _tell(self, trial: "optuna.Trial", values: Mapping[str, float], over: float) -> None:
        trial.set_user_attr("over", over)
        trial.set_constraint("limits", over)
        self._study.tell(trial, [values[name] for name in self._search.objectives])

    def _failed(self, trial: "optuna.Trial", reason: str) -> None:
        from optuna.trial import TrialState

        trial.set_user_attr("reason", reason)
        self._study.tell(trial, state=TrialState.FAIL)

    def _said_before(self, trial: "optuna.Trial", recipe: Recipe, running: Iterable[int]) -> bool:
        """Whether an earlier trial of the same recipe is over, or under way: then the sampler is told what is
        known of it."""
        text = recipe.to_toml() if recipe.passes else ""
        for earlier in self._trials:
            if earlier.number in running and earlier.user_attrs.get("recipe") == text:
                trial.set_user_attr("again", earlier.number)
                self._failed(trial, f"trial {earlier.number} tries the same")
                return True
            if earlier.user_attrs.get("recipe") == text and _is_over(earlier):
                trial.set_user_attr("again", earlier.number)
                if "reason" in earlier.user_attrs or not earlier.values:
                    self._failed(trial, earlier.user_attrs.get("reason", "the process died"))
                else:
                    known = _found(earlier, self._search.objectives)
                    self._tell(trial, known.values, known.over)
                return True
        return False

    def _begin_again(self) -> None:
        """Trials in which an earlier process died, unless it did so before."""
        from optuna.trial import TrialState

        for trial in self._trials:
            if trial.state is not TrialState.RUNNING:
                continue
            tries = int(trial.user_attrs.get("tries", 1))
            self._study.tell(trial.number, state=TrialState.FAIL)
            if tries < TRIES:
                self._study.enqueue_trial(trial.params, user_attrs={"tries": tries + 1})


class _Choices:
    """A sampler's choices, as a space asks for them."""

    def __init__(self, trial: "optuna.Trial") -> None:
        self._trial = trial

    def one_of(self, name: str, options: Sequence[Any]) -> Any:
        return self._trial.suggest_categorical(name, list(options))

    def number(self, name: str, low: float, high: float) -> float:
        if isinstance(low, int) and isinstance(high, int):
            return self._trial.suggest_int(name, low, high)
        return self._trial.suggest_float(name, low, high)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else works on the study in this folder meanwhile. Raises NetsukeError where somebody does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise NetsukeError(
                f"{folder}: another process works on this study; wait, or give another --out"
            ) from error
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _opened(folder: Path, storage: Storage, search: Search) -> "optuna.Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=storage.name,
        storage=storage.backend,
        sampler=_sampler(search),
        directions=["minimize"] * len(search.objectives),
        load_if_exists=True,
    )
    about = {"mark": search.mark, "objectives": list(search.objectives)}
    known = study.user_attrs.get("about")
    if known is not None and json.loads(known) != about:
        raise NetsukeError(
            f"{folder}: holds a study of another model, goal, space or objectives; give another --out"
        )
    study.set_user_attr("about", json.dumps(about))
    return study


def _sampler(search: Search) -> "optuna.samplers.BaseSampler":
    """Thompson's (``thompson.py``), tree-structured Parzen estimators (Ozaki et al., 2020, for several objectives), NSGA-II
    (Deb et al., 2002), NSGA-III (Deb and Jain, 2014), or chance."""
    from optuna import samplers

    from netsuke.study.thompson import Thompson

    if search.sampler == "thompson":
        worth = search.worth or (float("inf"),) * len(search.objectives)
        return Thompson(partial(search.space.recipe, student=search.student), worth, search.seed)

    made: dict[str, type[samplers.BaseSampler]] = {
        "tpe": samplers.TPESampler,
        "nsga2": samplers.NSGAIISampler,
        "nsga3": samplers.NSGAIIISampler,
        "random": samplers.RandomSampler,
    }
    if search.sampler not in made:
        raise NetsukeError(f"study: sampler {search.sampler!r} is none of {', '.join(SAMPLERS)}")
    if search.several and search.sampler == "tpe":
        # What is under way is taken to have come to nothing, so that nobody does it twice.
        return samplers.TPESampler(seed=search.seed, constant_liar=True)
    return made[search.sampler](seed=search.seed)  # type: ignore[call-arg]


def _found(trial: "optuna.trial.FrozenTrial", objectives: Sequence[str]) -> Found:
    known = trial.user_attrs
    values = dict(zip(objectives, trial.values, strict=True))
    return Found(trial.number, known["recipe"], values, known["over"], known.get("place", ""))


def _is_over(trial: "optuna.trial.FrozenTrial") -> bool:
    known = trial.user_attrs
    if "again" in known:
        return False
    if trial.state.name == "FAIL":
        return "reason" in known or int(known.get("tries", 1)) >= TRIES
    return trial.state.name == "COMPLETE"
