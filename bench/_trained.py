"""Figures 3 and 5: ResNet-20 trained in low precision."""

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._contest import below, contest, gap
from bench._control import control, epochs, resnet
from bench._data import load_test
from bench._harness import Bench, Claim, Figure, say
from bench._setup import fastest_fp32, fit, run_facts, stored_bytes, with_training
from bench._timing import outputs

if TYPE_CHECKING:
    from netsuke.core.task import Task
    from netsuke.store import Run

QAT = '[[pass]]\nuse = "quantize.qat"\nweights = {}\nactivations = {}\nepochs = {}\n'
NESTED = '[[pass]]\nuse = "quantize.nested"\nwidths = "6 4 2"\nepochs = {}\n'
EPOCHS = 4
NESTED_EPOCHS = 2
LIMITS = {"W4A4": (4, 4, 1.0), "W2A8": (2, 8, 2.5), "W3A3": (3, 3, None)}
"""Bits of weights and of activations; how many points may be lost, None where it is only reported."""
WIDTHS = {8: 0.5, 4: 1.0, 2: 4.0}
FREE = "100 pt"
"""The gate judges by the validation images, which the original was trained on: it is asked nothing."""
EDGES = "the first and the last layer have 8 bits in every network here"


def low_bits(bench: Bench) -> Figure:
    """Figure 3."""
    test, task = load_test(bench), with_training(bench)
    runs = {n: _train(bench, task, (w, a), EPOCHS, "quantize3") for n, (w, a, _) in LIMITS.items()}
    dense = control(bench, runs["W4A4"], task, resnet(bench))
    reference, floats = fastest_fp32(bench, runs["W4A4"].baseline.path, test[0][:1])
    files = {**{n: run.artifact.path for n, run in runs.items()}, "control": dense, **floats}
    found = contest(files, reference, test, bench.count(20, 2))
    gaps = {name: below(found["control"], found[name]) for name in runs}
    claims = [
        Claim(f"{name} below the FP32 control", gaps[name]["points"], "pt", "≤", limit)
        for name, (_, _, limit) in LIMITS.items()
        if limit is not None
    ]
    claims.append(Claim("epochs", max(map(epochs, runs.values())), "", "≤", 10))
    details = {
        "entries": {name: entry.to_dict() for name, entry in found.items()},
        "below_control": gaps,
        "below_original": {name: below(found[reference], found[name]) for name in runs},
        "stored_bytes": {name: stored_bytes(run) for name, run in runs.items()},
        "runs": {name: run_facts(run) for name, run in runs.items()},
    }
    points = gaps["W3A3"]["points"]
    notes = (EDGES, f"W3A3, reported only: {points:.2f} pt below the control")
    return Figure("QAT with distillation", tuple(claims), len(test[1]), details, notes)


def nested(bench: Bench) -> Figure:
    """Figure 5."""
    test, task = load_test(bench), with_training(bench)
    count = bench.count(NESTED_EPOCHS, 1)
    one = fit(bench, NESTED.format(count), task, "quantize5", drop=FREE)
    found, seconds = _widths(one, test)
    say("nested: " + ", ".join(f"{b} bits {100 * r.mean():.2f} %" for b, r in found.items()))
    alone = {b: _train(bench, task, (b, 8), NESTED_EPOCHS, "quantize5") for b in WIDTHS}
    rights = {
        b: outputs(run.artifact.path, test[0]).argmax(1) == test[1] for b, run in alone.items()
    }
    gaps = {bits: gap(rights[bits], found[bits]) for bits in WIDTHS}
    claims = tuple(
        Claim(f"{bits} bit below a network trained for it", gaps[bits]["points"], "pt", "≤", limit)
        for bits, limit in WIDTHS.items()
    )
    details: dict[str, Any] = {
        "nested_accuracy": {bits: float(right.mean()) for bits, right in found.items()},
        "alone_accuracy": {bits: float(right.mean()) for bits, right in rights.items()},
        "below_alone": gaps, "seconds": seconds, "epochs_each": count,
        "stored_bytes": {"nested": stored_bytes(one)} | {str(b): stored_bytes(r) for b, r in alone.items()},
        "run": run_facts(one),
    }  # fmt: skip
    notes = (
        EDGES,
        "a width below 8 bits saves bytes, not time: processors here have no kernels for it",
    )
    return Figure("nested widths", claims, len(test[1]), details, notes)


def _train(bench: Bench, task: "Task", bits: tuple[int, int], count: int, name: str) -> "Run":
    say(f"training W{bits[0]}A{bits[1]}")
    recipe = QAT.format(*bits, bench.count(count, 1))
    return fit(bench, recipe, task, f"{name}-w{bits[0]}a{bits[1]}", drop=FREE)


def _widths(
    run: "Run", test: tuple[np.ndarray, np.ndarray]
) -> tuple[dict[int, np.ndarray], dict[str, dict[int, float]]]:
    """At each width: which images are right; seconds of switching to it and of a call of one image."""
    import netsuke

    session: Any = netsuke.load(run.folder)
    x, y = test
    right, switch, call = dict[int, np.ndarray](), dict[int, float](), dict[int, float]()
    for bits in WIDTHS:
        start = time.perf_counter()
        session.use(bits=bits)
        switch[bits] = time.perf_counter() - start
        scores = [session.run((x[i : i + 100],))[0] for i in range(0, len(x), 100)]
        right[bits] = np.concatenate(scores).argmax(1) == y
        call[bits] = _median_seconds(session, x[:1])
    return right, {"switch": switch, "call_cpu": call}


def _median_seconds(session: Any, x: np.ndarray, calls: int = 200) -> float:
    spent = []
    for _ in range(calls):
        start = time.process_time()
        session.run((x,))
        spent.append(time.process_time() - start)
    return float(np.median(spent))
