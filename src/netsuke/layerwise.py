"""Simulation against runtime, layer by layer: where the two part, and by how much."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netsuke.clock import RecordedClock, RecordedKernels
from netsuke.core.budget import Budget
from netsuke.core.data import Array, Stream
from netsuke.core.device import recorded_device
from netsuke.core.errors import NetsukeError
from netsuke.core.feed import feed
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.observer import Observer
from netsuke.core.recipe import make_pass
from netsuke.core.registry import named
from netsuke.core.runtime import Runtime
from netsuke.core.task import Task
from netsuke.explain import NETWORK
from netsuke.intake import take_goal, take_model
from netsuke.probes.parity import TOLERANCE
from netsuke.store import Run
from netsuke.workbench import simulator

SAMPLES = 16


@dataclass(frozen=True, kw_only=True)
class LayerParity:
    """One layer's values, simulated in float64 and executed, on the same samples.

    difference: the largest, absolute. spread: standard deviation of the simulated values. agreement:
    the share of values that differ by at most 1 % of the spread, which is less than a level of 8 bits.
    """

    name: str
    difference: float
    spread: float
    agreement: float
    samples: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def by_layer(run: Run, model: Any, task: Task, samples: int = SAMPLES) -> tuple[LayerParity, ...]:
    """Each layer of the run's network is compared on ``samples`` of the test data (the validation
    data where there is none). Where the run keeps no network, its steps are done again.

    model: as the run took it. Raises NetsukeError where the network is not what model.onnx was
    exported from.
    """
    record = run.record
    device = recorded_device(record["device"])
    goal = take_goal(task, device, Budget(), record["seed"], Observer())
    if (run.folder / NETWORK).is_dir():
        carved = _kept(run.folder / NETWORK)
    else:
        carved = redone(take_model(model, goal.data, record["name"]), record, goal)
    runtime: Runtime = named(Runtime, "netsuke.runtimes", run.artifact.runtime)()  # type: ignore[type-abstract]
    with tempfile.TemporaryDirectory() as folder:
        made = runtime.export(carved, goal.device, Path(folder) / "model.onnx")
    if made.sha256 != run.artifact.sha256:
        raise NetsukeError(
            f"{run.folder}: its network, exported here, gives another model.onnx; compare the versions"
        )
    stream = goal.data.test or goal.data.validate
    return compare(carved, runtime, goal, stream.head(samples, goal.seed))


def _kept(folder: Path) -> Model:
    from netsuke.nets.save import load

    return load(folder)


def redone(model: Model, record: Mapping[str, Any], goal: Goal) -> Model:
    """The steps that led to a run's final state, done again with its choices."""
    for step in record["steps"]:
        if step["final"]:
            clock, kernels = step["clock"], step.get("kernels", {})
            carving = replace(goal, clock=RecordedClock(clock), kernels=RecordedKernels(kernels))
            model = make_pass(step["name"], step["settings"]).apply(model, carving)
    return model


def compare(model: Model, runtime: Runtime, goal: Goal, stream: Stream) -> tuple[LayerParity, ...]:
    """Each layer of the model, simulated and executed, over the whole stream at once."""
    from netsuke.nets.taps import tapped

    network, names = tapped(model.network)
    open_model = replace(model, network=network)
    batch = next(iter(stream.batches(len(stream))))
    with tempfile.TemporaryDirectory() as folder:
        artifact = runtime.export(open_model, goal.device, Path(folder) / "layers.onnx")
        inputs = feed(batch, artifact, stream.field)
        ran = runtime.open(artifact).run(inputs)
    simulated = simulator(open_model)(inputs)
    outputs = len(simulated) - len(names)
    ends = ("output",) if outputs == 1 else tuple(f"output_{i}" for i in range(outputs))
    pairs = [*zip(ran, simulated, strict=True)]
    # in the network's order: the layers, then its own outputs
    pairs = [*pairs[outputs:], *pairs[:outputs]]
    return tuple(
        _parity(name, *pair, len(batch)) for name, pair in zip((*names, *ends), pairs, strict=True)
    )


def _parity(name: str, ran: Array, simulated: Array, samples: int) -> LayerParity:
    if ran.shape != simulated.shape:
        raise NetsukeError(
            f"{name}: the runtime's values are {ran.shape}, the simulation's {simulated.shape}"
        )
    apart = np.abs(ran.astype(np.float64) - simulated)
    spread = float(np.std(simulated))
    return LayerParity(
        name=name,
        difference=float(apart.max(initial=0.0)),
        spread=spread,
        agreement=float((apart <= TOLERANCE * spread).mean()) if apart.size else 1.0,
        samples=samples,
    )
