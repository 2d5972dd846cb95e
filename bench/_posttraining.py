"""Figures 1 and 2: ResNet-20 quantized after training, beside rivals on the same images."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._apply import STATIC, apply
from bench._contest import below, contest, gap
from bench._data import load_test
from bench._harness import Bench, Claim, Figure
from bench._int8 import Call, rivals
from bench._setup import fastest_fp32, fit, network, post_training, run_facts, stored_bytes
from bench._simulated import simulated
from bench._timing import Timing, compare

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 40
W4 = '[[pass]]\nuse = "quantize.static"\nweights = 4\nrounding = "gptq"\n'
FAIR = (
    "AIMET and Brevitas simulate in torch and give no file that onnxruntime runs faster than onnxruntime's own "
    "quantizer does, so the files timed are onnxruntime's and NNCF's; both take slice-and-pad as a convolution"
)


def eight_bits(bench: Bench) -> Figure:
    """Figure 1."""
    test, task = load_test(bench), post_training(bench)
    run = fit(bench, STATIC, task, "quantize1")
    called = apply(bench, network(bench), (STATIC, task), "resnet20").spent
    reference, floats = fastest_fp32(bench, run.baseline.path, test[0][:1])
    calls, notes = rivals(bench, floats)
    theirs, more = simulated(bench, 8, test)
    files = {"Netsuke": run.artifact.path, **floats, **{n: c.path for n, c in calls.items()}}
    found = contest(files, reference, test, bench.count(ROUNDS, 2))
    rights = {n: found[n].right for n in calls} | {n: s.right for n, s in theirs.items()}
    best = max(rights, key=lambda name: rights[name].mean())
    behind = gap(rights[best], found["Netsuke"].right)
    fast = max(calls, key=lambda name: found[name].timing.ratio)
    beside = _beside(bench, {"Netsuke": run.artifact.path, fast: calls[fast].path}, fast, test[0])
    nncf = _quickest(calls, "NNCF")
    claims = (
        # Not worse and not slower as far as a run can tell: the interval reaches the rival.
        Claim("below the best rival, lower end", behind["low"], "pt", "≤", 0.0),
        Claim("beside the fastest rival's, upper end", beside.high, "x", "≥", 1.0),
        Claim(
            "CPU time of the call ÷ NNCF's", nncf and called.seconds["cpu"] / nncf, "x", "≤", 1.0
        ),
    )
    details = {
        "entries": {name: entry.to_dict() for name, entry in found.items()},
        "simulated": {name: one.to_dict() for name, one in theirs.items()},
        "best_rival": best, "fastest_rival": fast, "below_best_rival": behind,
        "lost": below(found[reference], found["Netsuke"]), "beside_fastest": beside.to_dict(),
        "calls": {"Netsuke": called.to_dict()} | {n: _seconds(c) for n, c in calls.items()},
        "run": run_facts(run),
    }  # fmt: skip
    return Figure("W8A8 after training", claims, len(test[1]), details, (*notes, *more, FAIR))


def four_bits(bench: Bench) -> Figure:
    """Figure 2."""
    test, task = load_test(bench), post_training(bench)
    eight = fit(bench, STATIC, task, "quantize2-int8")
    run = fit(bench, W4, task, "quantize2", drop="10 pt")
    called = apply(bench, network(bench), (W4, task), "resnet20-w4").spent
    theirs, notes = simulated(bench, 4, test)
    reference, floats = fastest_fp32(bench, run.baseline.path, test[0][:1])
    files = {"W4A8": run.artifact.path, "W8A8": eight.artifact.path, **floats}
    found = contest(files, reference, test, bench.count(ROUNDS, 2))
    beside = _beside(bench, {n: files[n] for n in ("W4A8", "W8A8")}, "W8A8", test[0])
    best = max(theirs, key=lambda name: theirs[name].accuracy, default=None)
    behind = best and gap(theirs[best].right, found["W4A8"].right)
    stored = stored_bytes(run)
    claims = (
        Claim("below the best of AIMET and Brevitas", behind and behind["points"], "pt", "≤", 0.3),
        Claim("CPU time of the call ÷ its", best and called.seconds["cpu"] / theirs[best].cpu_seconds, "x", "≤", 1.0),
        Claim("stored form ÷ the INT8 file", stored / found["W8A8"].size, "", "≤", 0.6),
        Claim("runnable file beside INT8's, upper end", beside.high, "x", "≥", 1.0),
        Claim("layers of more than 4 bits", float(_wide(run.record)), "", "≤", 0.0),
    )  # fmt: skip
    details: dict[str, Any] = {
        "entries": {name: entry.to_dict() for name, entry in found.items()},
        "simulated": {name: one.to_dict() for name, one in theirs.items()},
        "best_rival": best, "below_best_rival": behind, "stored_bytes": stored,
        "lost": below(found[reference], found["W4A8"]), "beside_int8": beside.to_dict(),
        "call": called.to_dict(), "run": run_facts(run),
    }  # fmt: skip
    return Figure("W4A8 after training", claims, len(test[1]), details, (*notes, FAIR))


def _wide(record: Mapping[str, Any]) -> int:
    """Layers whose weights have more than 4 bits."""
    layers = record["final"]["artifact"]["layers"]
    return sum(layer["weights"] > 0 and layer["weight_bits"] > 4 for layer in layers)


def _beside(bench: Bench, pair: "Mapping[str, Path]", other: str, x: np.ndarray) -> Timing:
    """The first of two files timed against the other alone."""
    return compare(pair, other, x[:1], bench.count(ROUNDS, 2))[next(iter(pair))]


def _quickest(calls: Mapping[str, Call], tool: str) -> float | None:
    """The least CPU seconds of a tool's calls."""
    return min((c.cpu_seconds for n, c in calls.items() if n.startswith(tool)), default=None)


def _seconds(call: Call) -> dict[str, float]:
    return {"wall": call.seconds, "cpu": call.cpu_seconds}
