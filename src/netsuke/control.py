"""What the training alone was worth: the original, uncut and unquantized, trained as the kept steps were.

A carved model that was trained further may beat the original because of the training, not of the carving.
Its loss is what it lies below a dense control of equal training (Blalock et al., 2020, "What is the state of
neural network pruning?").
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.recipe import make_pass
from netsuke.nets.training.train import TrainPlan, train
from netsuke.passes.training import TrainingPass
from netsuke.workbench import State, Workbench


def plans(steps: Iterable[Mapping[str, Any]]) -> tuple[TrainPlan, ...]:
    """How the steps that led to a run's final state were trained, in order; those that were are left.

    steps: entries of a run's record.
    """
    made = [make_pass(step["name"], step["settings"]) for step in steps if step["final"]]
    return tuple(p.plan() for p in made if isinstance(p, TrainingPass) and p.epochs)


def control(original: Model, training: Iterable[TrainPlan], goal: Goal) -> Model:
    """The original after the same training: the same loop, data, teacher, seed and epochs."""
    network, training = original.network, tuple(training)
    for plan in training:
        network = train(network, (original.network,), goal, plan)
    epochs = sum(plan.epochs for plan in training)
    said = f"{epochs} epochs with the original as teacher, nothing removed"
    return original.then(network, Step(name="control", settings={}, summary=said))


def beside_control(
    bench: Workbench, original: State, final: State, dense: Model
) -> tuple[Evidence, ...]:
    """ "control", the quality of the control on the test data, and "control_drop", how far the final
    state is below it on the same samples; nothing where there is no test data."""
    test = bench.goal.data.test
    if test is None:
        return ()
    state = bench.state(dense)
    about = {"quality": (state, original), "drop": (final, state)}
    found = [
        replace(e, what="control" if what == "quality" else "control_drop")
        for what, (subject, beside) in about.items()
        for e in bench.measure(subject, beside, test, ("quality",))
        if e.what == what
    ]
    return tuple(found)
