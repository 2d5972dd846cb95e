"""A recipe applied and exported, with no gate around it: what a call of a quantizer is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench._harness import Bench, Spent, timed

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from netsuke.core.model import Model
    from netsuke.core.task import Task

STATIC = '[[pass]]\nuse = "quantize.static"\n'


@dataclass(frozen=True)
class Applied:
    """fp32, path: the files before and after. spent: from the captured network to the written file."""

    model: Model
    fp32: Path
    path: Path
    spent: Spent


def apply(bench: Bench, net: nn.Module, how: tuple[str, Task], name: str) -> Applied:
    """The network after a recipe's text, quantized on the task's calibration data."""
    from netsuke import Budget
    from netsuke.core.observer import Observer
    from netsuke.core.recipe import read_recipe
    from netsuke.intake import take_goal, take_model
    from netsuke.runtimes.onnxruntime import OnnxRuntime

    recipe, task = how
    goal = take_goal(task, "local", Budget(), 0, Observer())
    model, runtime = take_model(net, goal.data, name), OnnxRuntime()
    folder = bench.folder("applied")
    fp32 = runtime.export(model, goal.device, folder / f"{name}-fp32.onnx").path
    steps = list(read_recipe(recipe))
    with timed() as spent:
        for step in steps:
            model = step.apply(model, goal)
        path = runtime.export(model, goal.device, folder / f"{name}.onnx").path
    return Applied(model, fp32, path, spent)
