"""The dense control: the same network, not carved, that got the same retraining."""

import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench._export import IMAGE, torch_onnx
from bench._harness import Bench, say
from bench._kept import source_of
from bench._setup import RESNET20, network

if TYPE_CHECKING:
    from torch import Tensor, nn

    from netsuke.core.metric import Metric
    from netsuke.core.task import Task
    from netsuke.nets.training.train import TrainPlan
    from netsuke.store import Run


def epochs(run: "Run") -> int:
    """Epochs of retraining the run took, those of steps undone again included."""
    return sum(
        int(step["settings"].get("epochs", 0))
        for step in run.record["steps"]
        if step["outcome"] != "refused"
    )


@dataclass(frozen=True)
class Dense:
    """A network as it came. name: what it is cached by. example: inputs, batch 2."""

    name: str
    make: Callable[[], "nn.Module"]
    example: tuple["Tensor", ...]


def resnet(bench: Bench, weights: str = RESNET20) -> Dense:
    """One of the shared ResNets."""
    return Dense(weights, lambda: network(bench, weights), IMAGE)


def control(bench: Bench, run: "Run", task: "Task", net: Dense) -> Path:
    """The dense network retrained like the run's kept steps (``netsuke.control``), as ONNX; kept under
    the cache, by what it was trained with.

    Its last epoch counts, not its best on the validation images: the original was trained on those too,
    so they would always choose it.
    """
    from netsuke.control import plans

    training = plans(run.record["steps"])
    settings = [asdict(plan) | {"method": repr(plan.method)} for plan in training]
    key = json.dumps(
        [net.name, settings, bench.quick, len(task.train[1]), source()], sort_keys=True
    )
    kept = bench.folder("control") / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.onnx"
    if not kept.is_file():
        say(f"training the dense control, {sum(plan.epochs for plan in training)} epochs")
        _trained(bench, task, training, net).replace(kept)
    return kept


def _trained(bench: Bench, task: "Task", training: tuple["TrainPlan", ...], net: Dense) -> Path:
    from netsuke import Budget
    from netsuke.control import control as trained
    from netsuke.core.observer import Observer
    from netsuke.intake import take_goal, take_model

    goal = take_goal(task, "local", Budget(), 0, Observer())
    goal = replace(goal, data=replace(goal.data, metric=_later(goal.data.metric)))
    found = trained(take_model(net.make(), goal.data, "dense"), training, goal)
    dense = net.make()
    dense.load_state_dict(found.network.state_dict())
    return torch_onnx(dense, bench.folder("control"), net.example)


def _later(metric: "Metric") -> "Metric":
    """A metric by which each epoch is better than the one before."""
    turn = itertools.count()
    return replace(metric, score=lambda *_: float(next(turn)), each=None, higher=True)


def source() -> str:
    """The text of the training: an older loop's control is no control."""
    from netsuke.nets import distillation, training

    return source_of(training, distillation)
