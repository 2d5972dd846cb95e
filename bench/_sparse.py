"""Figure 4: ResNet-56 with single weights gone."""

from typing import TYPE_CHECKING, Any

from bench._contest import gap
from bench._control import control, epochs, resnet
from bench._data import load_test
from bench._harness import ROOT, Bench, Claim, Figure, say
from bench._kept import FREE, kept_run
from bench._setup import (
    RESNET56,
    fit_network,
    network,
    post_training,
    run_facts,
    stored_bytes,
    with_training,
)
from bench._timing import compare, outputs

if TYPE_CHECKING:
    import numpy as np

    from netsuke.store import Run

ONCE = '[[pass]]\nuse = "prune.weights"\nwhen = "once"\nsparsity = 0.5\nepochs = 0\n'
TRAINED = ROOT / "recipes" / "resnet56-zeros.toml"
LIMITS = {0.9: 1.0, 0.95: 2.5}
"""Sparsity → how many points it may be below the dense control of equal training."""
HONEST = "zeros anywhere buy stored bytes, not time: onnxruntime multiplies by them as by any other number"


def unstructured(bench: Bench) -> Figure:
    """Figure 4."""
    test, task = load_test(bench), with_training(bench)
    once = fit_network(
        bench, network(bench, RESNET56), (ONCE, post_training(bench)), "prune4-once", FREE
    )
    runs = {share: zeros(bench, share) for share in LIMITS}
    dense = control(bench, runs[0.9], task, resnet(bench, RESNET56))
    files = {"original": once.baseline.path, "once": once.artifact.path, "control": dense}
    files |= {f"{share:g}": run.artifact.path for share, run in runs.items()}
    right = {name: outputs(path, test[0]).argmax(1) == test[1] for name, path in files.items()}
    gaps = {share: gap(right["control"], right[f"{share:g}"]) for share in LIMITS}
    lost = gap(right["original"], right["once"])
    claims = (
        *(Claim(f"{100 * s:g} % zeros below the dense control", gaps[s]["points"], "pt", "≤", most)
          for s, most in LIMITS.items()),
        Claim("50 % at once below the original", lost["points"], "pt", "≤", 1.0),
        *(Claim(f"share of zeros, asked for {s:g}", _zeros(run), "", "≥", s - 1e-4)
          for s, run in runs.items()),
        Claim("epochs", max(map(epochs, runs.values())), "", "≤", 12),
    )  # fmt: skip
    times = compare(files, "original", test[0][:1], bench.count(20, 2))
    details: dict[str, Any] = {
        "accuracy": {name: float(found.mean()) for name, found in right.items()},
        "below_control": {str(s): found for s, found in gaps.items()}, "below_original": lost,
        "below_original_trained": {str(s): gap(right["original"], right[f"{s:g}"]) for s in LIMITS},
        "speed": {name: timing.to_dict() for name, timing in times.items()},
        "stored_bytes": {"once": stored_bytes(once)} | {str(s): stored_bytes(r) for s, r in runs.items()},
        "runs": {"once": run_facts(once)} | {str(s): run_facts(r) for s, r in runs.items()},
    }  # fmt: skip
    return Figure("unstructured ResNet-56", claims, len(test[1]), details, (HONEST,))


def zeros(bench: Bench, share: float) -> "Run":
    """ResNet-56 with this share of its weights gone while it was retrained."""
    say(f"training to {100 * share:g} % zeros")
    recipe = TRAINED.read_text("utf8").replace("sparsity = 0.9", f"sparsity = {share:g}")
    how = (recipe, with_training(bench))
    return kept_run(bench, network(bench, RESNET56), how, f"zeros-{share:g}")


def at_once(bench: Bench, sparsity: float = 0.5) -> dict[str, float]:
    """The part without training alone: points lost against the original, with the interval."""
    recipe = ONCE.replace("0.5", str(sparsity))
    run = fit_network(
        bench, network(bench, RESNET56), (recipe, post_training(bench)), "prune4-once", FREE
    )
    x, y = load_test(bench)
    original, carved = (_right(path, x, y) for path in (run.baseline.path, run.artifact.path))
    return gap(original, carved) | {
        "original": float(original.mean()),
        "pruned": float(carved.mean()),
    }


def _right(path: Any, x: "np.ndarray", y: "np.ndarray") -> "np.ndarray":
    found: np.ndarray = outputs(path, x).argmax(1) == y
    return found


def _zeros(run: "Run") -> float:
    """The share of zeros among the weights that could leave, as the kept step counted them."""
    table = next(s["table"] for s in run.record["steps"] if s["final"])["layers"]
    left, total = (sum(row[key] for row in table.values()) for key in ("left", "weights"))
    return 1 - left / total
