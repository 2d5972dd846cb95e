"""A little, retrain, again, while the quality lasts (Han et al., 2015; Renda et al., 2020)."""

from dataclasses import replace
from typing import ClassVar

from netsuke.core.budget import Budget
from netsuke.core.metric import Metric
from netsuke.nets.evaluation import evaluate
from netsuke.nets.graph import clone
from netsuke.nets.sparse.schedule import Job, Pruned, Schedule, cubic
from netsuke.nets.sparse.zeros import Zeros

FIRST = 0.3
"""The sparsity of the first step."""
DROP = 0.01
"""What may be lost where the budget does not say; as the gate has it."""


class Iterative(Schedule):
    """Steps of growing sparsity, the first 30 %, the next along the cubic curve; each is retrained for its
    share of the epochs, the learning rate from the top. It goes on while validation has lost no more
    than the budget allows, and gives the last network that had not. rewind "weights": each step
    trains from the values that the weights came with, not from those they have by now.
    """

    name: ClassVar[str] = "iterative"

    def prune(self, job: Job) -> Pruned:
        data = job.goal.data
        whole = evaluate(job.network, data.validate, data.metric)
        plan = replace(job.plan, epochs=max(1, job.plan.epochs // job.steps))
        rungs: list[tuple[float, float]] = []
        best, network, stop = None, job.network, ""
        for share in ladder(job):
            pruned, _ = job.at_once(network, share)
            if job.rewind == "weights":
                zeros = Zeros.of(pruned)
                pruned = clone(job.network)
                zeros.hold(pruned)
            made = job.trained(pruned, plan=plan)
            network, score = made.network, made.scores[made.best]
            rungs.append((job.sparsity * share, score))
            if _lost(data.metric, whole, score) > allowed(job.goal.budget):
                stop = f"stopped at {100 * rungs[-1][0]:.3g} %: {data.metric.name} on validate fell from {whole:.4g} to {score:.4g}"
                break
            best = network
        notes = (
            f"{plan.epochs} epochs a step; rewinding: {job.rewind}",
            *(f"{100 * s:.3g} % pruned: {data.metric.name} on validate {v:.4g}" for s, v in rungs),
            *([stop] if stop else []),
        )
        return Pruned(network if best is None else best, notes, tuple(rungs))


def ladder(job: Job) -> tuple[float, ...]:
    """The steps as shares of what is to leave; the last is 1."""
    first = min(1.0, FIRST / job.sparsity)
    rest = (first + (1 - first) * cubic(i / (job.steps - 1)) for i in range(1, job.steps))
    return (1.0,) if job.steps == 1 or first == 1 else (first, *rest)


def allowed(budget: Budget) -> float:
    return budget.limits().get("drop", DROP)


def _lost(metric: Metric, whole: float, score: float) -> float:
    return whole - score if metric.higher else score - whole
