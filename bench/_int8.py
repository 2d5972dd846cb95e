"""INT8 of ResNet-20: what rivals make of the same FP32 file and images, and Netsuke's parity."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench._data import CALIBRATE, load_train
from bench._harness import Bench, say, timed
from bench._rivals import RivalFailedError, RivalMissingError, rival
from bench._setup import network, post_training
from bench._timing import outputs


@dataclass(frozen=True)
class Call:
    """What one call of a rival gave. seconds, cpu_seconds: of reading no file, writing one."""

    path: Path
    seconds: float
    cpu_seconds: float


def rivals(bench: Bench, floats: Mapping[str, Path]) -> tuple[dict[str, Call], list[str]]:
    """Each rival's INT8 file of each FP32 file, and notes on those that are missing.

    A rival may do better on one export than on another, so each gets both.
    """
    from bench._quantizers import onnxruntime_u8s8

    folder, found, notes = bench.folder("int8"), dict[str, Call](), list[str]()
    images = load_train(bench).part(CALIBRATE)[0]
    np.save(folder / "calibrate.npy", images)
    for index, (origin, model) in enumerate(floats.items()):
        say(f"quantizing {origin} by onnxruntime and NNCF")
        path = folder / f"onnxruntime-{index}.onnx"
        with timed() as spent:
            onnxruntime_u8s8(model, images, path)
        found[f"onnxruntime U8S8 of {origin}"] = Call(path, spent.wall, spent.seconds["cpu"])
        path = folder / f"nncf-{index}.onnx"
        request = {
            "model": str(model),
            "images": str(folder / "calibrate.npy"),
            "output": str(path),
            "preset": "performance",
        }
        try:
            reply = rival("nncf", request, folder)
            call = Call(path, reply["seconds"], reply["cpu_seconds"])
            found[f"NNCF {reply['version']} of {origin}"] = call
        except (RivalMissingError, RivalFailedError) as error:
            notes.append(str(error))
    return found, notes


def simulated_and_executed(
    bench: Bench, recipe: str, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of Netsuke's INT8 ResNet-20 on the images: simulated in float64, and executed by
    onnxruntime from the exported file."""
    from netsuke import Budget
    from netsuke.core.observer import Observer
    from netsuke.core.recipe import read_recipe
    from netsuke.intake import take_goal, take_model
    from netsuke.runtimes.onnxruntime import OnnxRuntime
    from netsuke.workbench import simulator

    goal = take_goal(post_training(bench), "local", Budget(), 0, Observer())
    model = take_model(network(bench), goal.data, "resnet20")
    for step in read_recipe(recipe):
        model = step.apply(model, goal)
    file = OnnxRuntime().export(model, goal.device, bench.folder("int8") / "parity.onnx").path
    simulate = simulator(model)
    parts = [simulate((x[i : i + 100],))[0] for i in range(0, len(x), 100)]
    return np.concatenate(parts), outputs(file, x)
