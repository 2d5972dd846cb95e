"""Figure 1: LeNet-300-100 and LeNet-5 pruned, clustered, retrained and packed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._contest import gap
from bench._harness import ROOT, Bench, Claim, Figure, say
from bench._setup import fit_network, run_facts, stored_bytes
from bench._timing import outputs

if TYPE_CHECKING:
    from torch import nn

    from netsuke.core.task import Task
    from netsuke.store import Run

DATA = "mnist10k/mnist10k.npz"
MEAN, STD = 0.1307, 0.3081
HELD_OUT = 800
"""Training images that are for choosing alone; the other 7,200 are trained on."""
DENSE_EPOCHS = 15
RECIPES = {"LeNet-300-100": "lenet-300-100.toml", "LeNet-5": "lenet-5.toml"}
LIMITS = {"LeNet-300-100": 80.0, "LeNet-5": 100.0}
FREE = "100 pt"
"""The gate is asked nothing: the claims are about the test images."""


@dataclass(frozen=True)
class Carved:
    """run: the recipe's. right: for every test image whether it is told right, by the carved network
    and by the dense control of equal training. weights: of the dense network."""

    run: "Run"
    right: np.ndarray
    control: np.ndarray
    dense: np.ndarray
    weights: int

    @property
    def smaller(self) -> float:
        """Bytes of the FP32 weights and biases alone over those of the whole stored file."""
        return 4 * self.weights / stored_bytes(self.run)


def lenets(bench: Bench) -> Figure:
    """Figure 1."""
    test, task = images(bench)
    found = {name: _carved(bench, name, test, task) for name in RECIPES}
    gaps = {name: gap(one.control, one.right) for name, one in found.items()}
    claims = [
        claim
        for name, one in found.items()
        for claim in (
            Claim(f"{name}: FP32 ÷ stored form", one.smaller, "x", "≥", LIMITS[name]),
            # Not worse as far as the images tell: the paired interval reaches the control.
            Claim(f"{name}: below the dense control, lower end", gaps[name]["low"], "pt", "≤", 0.0),
        )
    ]
    details = {
        name: {
            "accuracy": float(one.right.mean()), "control": float(one.control.mean()),
            "dense": float(one.dense.mean()), "below_control": gaps[name],
            "fp32_bytes": 4 * one.weights, "stored_bytes": stored_bytes(one.run),
            "run": run_facts(one.run), "notes": [s["summary"] for s in one.run.record["steps"]],
        }
        for name, one in found.items()
    }  # fmt: skip
    notes = (
        "Deep Compression: 40x and 39x; sparse variational dropout: 113x and 365x fewer weights, on 60,000 images",
        "FP32 is 4 bytes a weight and bias; the stored form is the whole file, graph, tables and checksums included",
    )
    return Figure("LeNets stored", tuple(claims), len(test[1]), details, notes)


def images(bench: Bench) -> tuple[tuple[np.ndarray, np.ndarray], "Task"]:
    """(test images and classes, the task): 7,200 to train, 800 to choose on, 500 of them to calibrate."""
    from netsuke import Task

    with np.load(bench.file(DATA)) as stored:
        x, y, xt, yt = (stored[n] for n in ("x_train", "y_train", "x_test", "y_test"))
    x, xt = (((a.astype(np.float32) / 255 - MEAN) / STD)[:, None] for a in (x, xt))
    y, yt = y.astype(np.int64), yt.astype(np.int64)
    used = bench.count(len(x) - HELD_OUT, 512)
    train = x[HELD_OUT : HELD_OUT + used], y[HELD_OUT : HELD_OUT + used]
    held = x[:HELD_OUT], y[:HELD_OUT]
    test = xt[: bench.count(len(xt), 200)], yt[: bench.count(len(xt), 200)]
    return test, Task(train=train, calibrate=train[0][:500], validate=held, test=test)


def network(name: str) -> "nn.Module":
    """LeCun's networks as Caffe and Han et al. have them, with random weights."""
    from torch import nn

    if name == "LeNet-5":
        return nn.Sequential(
            nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
        )  # fmt: skip
    layers = (nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    return nn.Sequential(nn.Flatten(), *layers)


def _carved(bench: Bench, name: str, test: tuple[np.ndarray, np.ndarray], task: "Task") -> Carved:
    recipe = (ROOT / "recipes" / RECIPES[name]).read_text("utf8")
    if bench.quick:
        recipe = "".join("epochs = 1\n" if "epochs" in line else line for line in recipe.splitlines(True))  # fmt: skip
    dense = trained(bench, name, task)
    run = fit_network(bench, dense, (recipe, task), name.lower(), FREE)
    control = _control(bench, dense, run, task)
    right = {
        key: outputs(path, test[0]).argmax(1) == test[1]
        for key, path in (("run", run.artifact.path), ("control", control), ("dense", run.baseline.path))
    }  # fmt: skip
    count = sum(p.numel() for p in dense.parameters())
    return Carved(run, right["run"], right["control"], right["dense"], count)


def trained(bench: Bench, name: str, task: "Task") -> "nn.Module":
    """The dense network, trained once from random weights; kept under the cache by what made it."""
    import torch
    from safetensors.torch import load_file, save_file

    from netsuke.nets.training.train import TrainPlan, retrain

    torch.manual_seed(0)
    net = network(name)
    plan = TrainPlan(epochs=bench.count(DENSE_EPOCHS, 1), lr=0.05, precision="float32")
    key = hashlib.sha256(
        f"{name} {plan} {len(task.train[1])}".encode() + Path(__file__).read_bytes()
    )
    kept = bench.folder("lenet") / f"{name.lower()}-{key.hexdigest()[:12]}.safetensors"
    if not kept.is_file():
        say(f"training {name}")
        goal, model = _captured(net, task)
        made = retrain(model.network, (), goal, plan)
        state = {n: p.detach().clone() for n, p in made.network.named_parameters()}
        draft = kept.with_suffix(".part")
        save_file(state, draft)
        draft.replace(kept)
    net.load_state_dict(load_file(kept))
    return net.eval()


def _control(bench: Bench, dense: "nn.Module", run: "Run", task: "Task") -> Path:
    """The dense network trained as the kept steps were, one after the other, as ONNX."""
    import torch

    from bench._export import torch_onnx
    from netsuke.control import control, plans

    goal, model = _captured(dense, task)
    say("training the dense control")
    found = control(model, plans(run.record["steps"]), goal)
    dense.load_state_dict(found.network.state_dict())
    return torch_onnx(dense, bench.folder("lenet"), (torch.zeros(2, 1, 28, 28),))


def _captured(net: "nn.Module", task: "Task") -> tuple[Any, Any]:
    from netsuke import Budget
    from netsuke.core.observer import Observer
    from netsuke.intake import take_goal, take_model

    goal = take_goal(task, "local", Budget(), 0, Observer())
    return goal, take_model(net, goal.data, "lenet")
