"""Figure 7: MiniLM-L6 on SST-2, sequences of 128 tokens."""

from typing import Any

import torch

from bench._apply import STATIC
from bench._contest import below, contest
from bench._export import torch_onnx
from bench._harness import Bench, Claim, Figure
from bench._minilm import minilm, sentences, sst2
from bench._setup import fastest_of, fit_network, run_facts, stored_bytes

RECIPES = {
    "static": STATIC,
    "dynamic": '[[pass]]\nuse = "quantize.dynamic"\n',
    "INT4 weights": '[[pass]]\nuse = "quantize.weights"\nscheme = "int4g64"\n',
}
DROPS = {"static": "1 pt", "dynamic": "1 pt", "INT4 weights": "1.5 pt"}


def transformer(bench: Bench) -> Figure:
    """The figure."""
    net, task = minilm(bench), sst2(bench)
    ids, mask, y = (part[: bench.count(1821, 64)] for part in sentences(bench, "test"))
    runs = {
        name: fit_network(bench, net, (recipe, task), "quantize7", DROPS[name])
        for name, recipe in RECIPES.items()
    }
    example = (torch.from_numpy(ids[:2]), torch.from_numpy(mask[:2]))
    theirs = torch_onnx(net, bench.folder("onnx"), example)
    base = runs["static"].baseline.path
    reference, floats = fastest_of(bench, base, theirs, (ids[:1], mask[:1]))
    files = {**floats, **{name: run.artifact.path for name, run in runs.items()}}
    # One by one, as a device calls it: dynamic ranges are those of a whole batch.
    found = contest(files, reference, ((ids, mask), y), bench.count(10, 1), batch=1)
    lost = {name: below(found[reference], found[name]) for name in runs}
    small = stored_bytes(runs["INT4 weights"])
    fp32 = min(found[name].size for name in floats)
    claims = (
        Claim("static faster than FP32", found["static"].timing.ratio, "x", "≥", 2.4),
        Claim("dynamic faster than FP32", found["dynamic"].timing.ratio, "x", "≥", 2.3),
        Claim("static loses", lost["static"]["points"], "pt", "≤", 1.0),
        Claim("dynamic loses", lost["dynamic"]["points"], "pt", "≤", 1.0),
        Claim("INT4 weights, stored form ÷ FP32", 100 * small / fp32, "%", "≤", 20.0),
        Claim("INT4 weights lose", lost["INT4 weights"]["points"], "pt", "≤", 1.5),
    )
    details: dict[str, Any] = {
        "entries": {name: entry.to_dict() for name, entry in found.items()},
        "lost": lost,
        "stored_bytes": {name: stored_bytes(run) for name, run in runs.items()},
        "runs": {name: run_facts(run) for name, run in runs.items()},
    }
    return Figure("MiniLM-L6 on SST-2", claims, len(y), details)
