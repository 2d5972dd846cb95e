"""A federation under way: its network, and what came of each round."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from flwr.serverapp.strategy import Strategy
from torch import Tensor

from netsuke import store
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.quantity import show
from netsuke.federation.adaptive import Adaptive
from netsuke.federation.checkpoint import Checkpoint, resumed
from netsuke.federation.job import Asked
from netsuke.federation.plan import Plan
from netsuke.federation.rounds import Round, Rounds
from netsuke.federation.strategies import moments, remember, strategy
from netsuke.federation.update import learned
from netsuke.fitting import Options, measured, original_state, workbench
from netsuke.journal import fingerprint
from netsuke.nets.data import batches
from netsuke.nets.evaluation import evaluate, evaluating
from netsuke.nets.quantizers.rehearsed import rehearsed
from netsuke.passes.quantize.static import Static
from netsuke.record import FEDERATED, write_run

REDRAWN = 60.0
"""Seconds after which the page of a federation under way is drawn again."""


class Progress:
    """Goes on where an earlier process was; raises NetsukeError where that had another federation in the folder."""

    def __init__(self, taken: Model, goal: Goal, plan: Plan) -> None:
        self._taken, self._goal, self._plan = taken, goal, plan
        self._adaptive = Adaptive(taken, goal)
        self.network = self._adaptive.network
        self.strategy = self._new_strategy()
        told = f"{fingerprint(taken, goal, None)} {json.dumps(plan.settings(), sort_keys=True)}"
        mark, metric = hashlib.sha256(told.encode()).hexdigest(), goal.data.metric
        about = {"metric": {"name": metric.name, "unit": metric.unit}, "settings": plan.settings()}
        found = resumed(plan.out, mark, about)
        self.kept = found or Checkpoint(plan.out, mark, about, first=self._score())
        self._best = self.state
        self._open: Round | None = None
        self._drawn = time.monotonic()
        if found is not None:
            whole, self._best, beside = found.states()
            self._adaptive.resume(whole, found.shape)
            self.network = self._adaptive.network
            remember(self.strategy, beside)

    @property
    def state(self) -> dict[str, Tensor]:
        """What is learned of the network now."""
        return {name: t.clone() for name, t in learned(self.network.state_dict()).items()}

    @property
    def left(self) -> int:
        """Rounds to come."""
        return self._plan.rounds - len(self.kept.rounds)

    def go(self, rounds: Rounds) -> None:
        """All of them, each kept as it ends."""
        observer = self._plan.observer
        rounds.gather(self._plan.clients)
        for line in rounds.members.told():
            observer.note(line)
        numbers = range(len(self.kept.rounds) + 1, self._plan.rounds + 1)
        try:
            for number in observer.track(numbers, "rounds"):
                rounds.strategy = self.strategy
                state, self._open = rounds.play(self.state, self._asked(number), self._settle)
                self.network.load_state_dict(state, strict=False)
                self._adaptive.take(self.network.state_dict())
                gone = self._plan.pruning.gone(number, self._plan.rounds)
                if gone is not None:
                    self._settle(partial(self._pruned, gone, rounds))
                for line in rounds.members.told():
                    observer.note(line)
        finally:
            self._settle()

    def _settle(self, change: Callable[[], Sequence[str]] = tuple) -> None:
        """Judge and keep the last round, unless that is done: where nothing changes by it, while the next is under way. change:
        of the network, after it was judged; what is to be said of it."""
        came, self._open = self._open, None
        if came is None:
            return
        self._check_numbers(came.number)
        score = self._score()
        if self._is_best(score):
            self._best = self.state
        told = json.loads(json.dumps(asdict(came)))  # as it will be read again
        self.kept.rounds.append({**told, "score": score, "units": self._adaptive.units})
        said = change()
        self.kept.keep(learned(self._adaptive.whole), self._best, moments(self.strategy))
        if time.monotonic() - self._drawn > REDRAWN:
            self.kept.draw()
            self._drawn = time.monotonic()
        for line in (_said(came, score, self._goal), *said):
            self._plan.observer.note(line)

    def written(self) -> store.Run:
        """The best of it as a run: exported, measured on the test data, beside the model as it came."""
        plan, goal = self._plan, self._goal
        self.kept.draw()
        network = self._adaptive.network
        network.load_state_dict(self._best, strict=False)
        step = Step(name=FEDERATED, settings=plan.settings(), summary=self._told())
        options = Options(out=plan.out, seed=plan.seed, observer=plan.observer)
        with workbench(goal, options, plan.out) as bench:
            original = original_state(bench, self._taken)
            state = bench.state(self._finished(self._taken.then(network, step)))
            finished = measured(bench, original, state)
            steps = [self._kept(step) for step in state.model.lineage]
            steps[-1] |= {
                "evidence": [e.to_dict() for e in finished.final.evidence],
                "layers": [layer.to_dict() for layer in state.artifact.layers],
            }
            return write_run(plan.out, replace(finished, trials=tuple(steps)), plan.origin)

    def _told(self) -> str:
        """What the rounds were, in a line."""
        rounds = self.kept.rounds
        up = sum(one["wire"][0] for one in rounds)
        return f"{len(rounds)} rounds of {self._plan.clients} clients, {show(up, 'B')} up"

    def _kept(self, step: Step) -> dict[str, Any]:
        """A step as a run's record has it."""
        rounds = sum(one["seconds"] for one in self.kept.rounds)
        return {
            **asdict(step), "notes": list(step.notes), "outcome": "kept", "reason": "was asked for", "evidence": [], "clock": [],
            "seconds": rounds if step.name == FEDERATED else None,
        }  # fmt: skip

    def _finished(self, model: Model) -> Model:
        """On the integers that it was trained for."""
        if not self._plan.bits:
            return model
        return Static(weights=self._plan.bits).apply(model, self._goal)

    def _check_numbers(self, number: int) -> None:
        """Raises NetsukeError where the network answers with NaN; earlier rounds stay as they were kept."""
        inputs, _ = next(batches(self._goal.data.validate))
        with evaluating(self.network):
            given = self.network(*inputs)
        first = given if isinstance(given, Tensor) else given[0]
        if bool(first.isnan().any()):
            raise NetsukeError(
                f"federate: round {number}: the clients' network answers with NaN; lr = {self._plan.lr:g} is too high for it, or a "
                "client means harm, which the strategies fedmedian and trimmed withstand"
            )

    def _pruned(self, gone: float, rounds: Rounds) -> list[str]:
        """Look anew at which channels there are; what is to be said of it. gone: of the time."""
        before, adaptive = self._adaptive.shape, self._adaptive
        found, rejected = rounds.worths(learned(adaptive.whole), adaptive.groups)
        adaptive.look([(one.worth, one.samples) for one in found], gone)
        said = [f"{name} not asked which channels stay: {why}" for name, why in rejected.items()]
        self.kept.shape = self._adaptive.shape
        if self._adaptive.shape == before:
            return said
        self.network = self._adaptive.network
        self.strategy = self._new_strategy()
        self._best = self.state
        return [*said, f"channels looked at anew: {self._adaptive.said(before)}"]

    def _asked(self, number: int) -> Asked:
        plan = self._plan
        rate = 0.5 * plan.lr * (1 + math.cos(math.pi * (number - 1) / plan.rounds))
        return Asked(
            round=number, epochs=plan.epochs, lr=rate, batch=plan.batch, pull=plan.aggregation.pull,
            soft=plan.soft, temperature=plan.temperature, bits=plan.bits,
            by=plan.compress, shape={str(g): list(u) for g, u in self._adaptive.shape.items()}, seed=plan.seed,
        )  # fmt: skip

    def _new_strategy(self) -> Strategy:
        statistics = frozenset(name for name, _ in self.network.named_buffers())
        return strategy(self._plan.aggregation, self._plan.clients, statistics)

    def _score(self) -> float:
        """As it is trained: on integers, where it is to have them."""
        bits, data = self._plan.bits, self._goal.data
        network = rehearsed(self.network, bits) if bits else self.network
        return evaluate(network, data.validate, data.metric)

    def _is_best(self, score: float) -> bool:
        """Of those with the channels that there are now."""
        sign, units = 1 if self._goal.data.metric.higher else -1, self._adaptive.units
        earlier = [one["score"] for one in self.kept.rounds if one["units"] == units]
        if not self._adaptive.shape:
            earlier.append(self.kept.first)
        return all(sign * score >= sign * one for one in earlier)


def _said(came: Round, score: float, goal: Goal) -> str:
    """A line on a round."""
    parts = [
        f"round {came.number}: {goal.data.metric.name} {score:.4g} on validate, {len(came.heard)} clients, "
        f"{came.wire[0] / 1e3:,.0f} kB up, {came.seconds:.1f} s"
    ]
    parts += [f"{name} rejected: {why}" for name, why in came.rejected.items()]
    if came.late:
        parts.append(f"not waited for: {', '.join(came.late)}")
    return "; ".join(parts)
