"""The walk, end to end, on ResNet-20: the five figures of the first capability.

All on the 10,000 CIFAR-10 test images, onnxruntime, batch 1, one thread; ratios against FP32 of the
same run, which is the faster of two files: Netsuke's own export and torch.onnx's.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._data import load_test
from bench._harness import ROOT, Bench, Claim, Figure, MissingDataError, timed

if TYPE_CHECKING:
    from bench._contest import Entry
    from bench._timing import Timing

ROUNDS = 40
INT8 = '[[pass]]\nuse = "quantize.static"\n'
SMALL = ROOT / "recipes" / "resnet20-small.toml"


def figure_1(bench: Bench) -> Figure:
    """INT8 after training, beside onnxruntime's own quantizer and NNCF on the same images."""
    from bench._contest import below, contest
    from bench._int8 import rivals
    from bench._setup import fastest_fp32, fit, post_training, run_facts

    images = load_test(bench)
    task = post_training(bench)
    with timed() as spent:
        run = fit(bench, INT8, task, "figure1")
    reference, floats = fastest_fp32(bench, run.baseline.path, images[0][:1])
    theirs, notes = rivals(bench, floats)
    files = {"Netsuke": run.artifact.path, **floats, **{n: c.path for n, c in theirs.items()}}
    found = contest(files, reference, images, bench.count(ROUNDS, 2))
    lost = below(found[reference], found["Netsuke"])
    claims = [
        Claim("faster than FP32", found["Netsuke"].timing.ratio, "x", "≥", 2.25),
        Claim("accuracy lost", lost["points"], "pt", "≤", 0.3),
        Claim("size", found["Netsuke"].size / 1e3, "kB", "≤", 320.0),
        Claim("the whole fit", spent.wall, "s", "≤", 90.0),
    ]
    details: dict[str, Any] = {
        "entries": {name: entry.to_dict() for name, entry in found.items()},
        "lost": lost,
        "fit_seconds": spent.to_dict(),
        "run": run_facts(run),
    }
    for tool in ("onnxruntime", "NNCF"):
        beside = _beside(bench, tool, found, images[0][:1])
        details[f"beside {tool}"] = beside and beside.to_dict()
        # Not slower as far as a run can tell: the interval reaches 1.
        high = beside.high if beside else None
        claims.append(Claim(f"beside {tool}'s, upper end", high, "x", "≥", 1.0))
    return Figure("INT8 post-training", tuple(claims), len(images[1]), details, tuple(notes))


def _beside(
    bench: Bench, tool: str, found: "Mapping[str, Entry]", sample: np.ndarray
) -> "Timing | None":
    """Netsuke's file timed against the tool's fastest alone; None where the tool is missing."""
    from bench._timing import compare

    mine = [name for name in found if name.startswith(tool)]
    best = max(mine, key=lambda name: found[name].timing.ratio, default=None)
    if best is None:
        return None
    pair = {name: found[name].path for name in ("Netsuke", best)}
    return compare(pair, best, sample, bench.count(ROUNDS, 2))["Netsuke"]


def figure_2(bench: Bench) -> Figure:
    """Prune, distil and quantize, against the dense network that got the same retraining."""
    from bench._contest import below, contest
    from bench._control import control, epochs, resnet
    from bench._setup import fastest_fp32, fit, run_facts, with_training

    images = load_test(bench)
    if not SMALL.is_file():
        raise MissingDataError(f"no {SMALL}, the recipe this figure runs")
    task = with_training(bench)
    run = fit(bench, SMALL.read_text("utf8"), task, "figure2", drop="12 pt")
    reference, floats = fastest_fp32(bench, run.baseline.path, images[0][:1])
    files = {
        "Netsuke": run.artifact.path,
        "dense control": control(bench, run, task, resnet(bench)),
        **floats,
    }
    found = contest(files, reference, images, bench.count(ROUNDS, 2))
    ours, smallest = found["Netsuke"], min(found[name].size for name in floats)
    control_gap, original_gap = below(found["dense control"], ours), below(found[reference], ours)
    claims = (
        Claim("faster than FP32", ours.timing.ratio, "x", "≥", 3.0),
        Claim("smaller than FP32", smallest / ours.size, "x", "≥", 6.0),
        Claim("below the dense control", control_gap["points"], "pt", "≤", 1.5),
        Claim("below the original", original_gap["points"], "pt", "≤", 1.0),
        Claim("epochs, undone steps too", epochs(run), "", "≤", 12),
    )
    details = {
        "entries": {name: entry.to_dict() for name, entry in found.items()},
        "below_control": control_gap,
        "below_original": original_gap,
        "run": run_facts(run),
    }
    return Figure("prune + distil + quantize", claims, len(images[1]), details)


def figure_3(bench: Bench) -> Figure:
    """Pruning alone against Torch-Pruning as fast, after one and the same short retraining."""
    from bench._duel import duel

    return duel(bench)


def figure_4(bench: Bench) -> Figure:
    """``make demo``, from nothing but the install."""
    from bench._demo import demo

    seconds, record, note = demo(ROOT)
    claims = demo_claims(seconds, record)
    if record is None:
        return Figure("make demo", claims, 0, notes=(note,))
    final = _by_name(record["final"])
    details = {"run": note, "verdict": record["verdict"]["reason"], "evidence": final}
    return Figure("make demo", claims, int(final["drop"]["samples"]), details)


def demo_claims(seconds: float | None, record: Mapping[str, Any] | None) -> tuple[Claim, ...]:
    """What the demo promises, from its run's record; unknown where there is none."""
    value: dict[str, float | None] = dict.fromkeys(("passes", "smaller", "speedup", "drop", "macs"))
    if record is not None:
        final, base = _by_name(record["final"]), _by_name(record["baseline"])
        value = {name: final[name]["value"] for name in ("speedup", "drop") if name in final}
        value["passes"] = float(record["verdict"]["outcome"] == "pass")
        value["smaller"] = base["size"]["value"] / final["size"]["value"]
        value["macs"] = (
            sum(layer["macs"] for layer in record["baseline"]["artifact"]["layers"]) / 1e6
        )
    drop = value.get("drop")
    return (
        Claim("time after the install", seconds, "s", "<", 240.0),
        Claim("the report says pass", value["passes"], "", "≥", 1.0),
        Claim("smaller than FP32", value["smaller"], "x", "≥", 4.0),
        Claim("faster than FP32", value.get("speedup"), "x", ">", 1.0),
        Claim("accuracy lost", None if drop is None else 100 * drop, "pt", "≤", 2.0),
        Claim("size of the network", value["macs"], "M MACs", "≥", 5.0),
    )


def figure_5(bench: Bench) -> Figure:
    """Simulated INT8 (in float64) against executed INT8, image by image."""
    from bench._int8 import simulated_and_executed

    x, y = load_test(bench)
    thought, ran = simulated_and_executed(bench, INT8, x)
    same = thought.argmax(1) == ran.argmax(1)
    apart = np.abs(thought - ran).max(1)
    details = {
        "different_predictions": int((~same).sum()),
        "largest_difference": float(apart.max()),
        "images_off_by_more_than_1e-4": int((apart > 1e-4).sum()),
        "accuracy": {"simulated": _share(thought, y), "executed": _share(ran, y)},
    }
    claim = Claim("predictions that agree", 100 * float(same.mean()), "%", "≥", 99.9)
    return Figure("parity of INT8", (claim,), len(y), details)


def _share(scores: np.ndarray, classes: np.ndarray) -> float:
    return float((scores.argmax(1) == classes).mean())


def _by_name(point: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Evidence of a record's point by what it is about, measured before estimated."""
    found: dict[str, dict[str, Any]] = {}
    for one in sorted(point["evidence"], key=lambda e: e["source"] != "measured", reverse=True):
        found[one["what"]] = one
    return found
