"""Figure 8: what quantizing MiniLM takes, each case in a process of its own:
``python -m bench._memory REQUEST.json`` prints its peak memory and seconds as JSON."""

import ctypes
import gc
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from bench._harness import ROOT, Bench, Claim, Figure, say, timed

METHODS = ("nearest", "gptq", "adaround")
SAMPLES = (50, 150, 500)
RECIPE = '[[pass]]\nuse = "quantize.static"\nrounding = "{}"\nsamples = {}\n'


@dataclass(frozen=True)
class Case:
    """One process: the bench's folders, a rounding, and how many calibration samples."""

    data: str
    cache: str
    quick: bool
    rounding: str
    samples: int


@dataclass(frozen=True)
class Used:
    """above: peak resident bytes beyond those after the imports. network: its FP32 bytes."""

    above: int
    network: int
    cpu_seconds: float


def memory(bench: Bench) -> Figure:
    """The figure."""
    counts = SAMPLES if not bench.quick else (4, 8, 16)
    used = {
        method: {n: _run(bench, method, n) for n in counts} for method in METHODS
    }  # fmt: skip
    claims = [
        Claim(
            f"{method}: peak ÷ FP32 bytes",
            max(u.above / u.network for u in cases.values()),
            "x",
            "≤",
            4.0,
        )
        for method, cases in used.items()
    ]
    claims += [
        # Three times the samples, twice: were the cost quadratic, the second step would be 3.3 times as steep.
        Claim(
            f"{method}: cost of a further sample, later ÷ earlier",
            _steepening(cases),
            "x",
            "≤",
            1.3,
        )
        for method, cases in used.items()
    ]
    details = {
        method: {str(n): asdict(one) for n, one in cases.items()} for method, cases in used.items()
    }
    return Figure("memory of quantizing MiniLM", tuple(claims), counts[-1], details)


def _steepening(cases: dict[int, Used]) -> float:
    """CPU seconds a sample between the two larger counts ÷ between the two smaller."""
    (a, low), (b, mid), (c, high) = ((n, u.cpu_seconds) for n, u in sorted(cases.items()))
    return ((high - mid) / (c - b)) / ((mid - low) / (b - a))


def _run(bench: Bench, rounding: str, samples: int) -> Used:
    say(f"quantizing MiniLM: {rounding}, {samples} samples")
    case = Case(str(bench.data), str(bench.cache), bench.quick, rounding, samples)
    asked = bench.folder("memory") / "request.json"
    asked.write_text(json.dumps(asdict(case)), "utf8")
    command = [sys.executable, "-m", "bench._memory", str(asked)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{rounding}, {samples} samples: {done.stderr.strip().splitlines()[-1:]}"
        )
    return Used(**json.loads(done.stdout.splitlines()[-1]))


def _child(case: Case) -> Used:
    """Quantize as the case says; the peak is read before the export, which is not quantizing."""
    import tokenizers  # noqa: F401
    from transformers import BertModel  # noqa: F401

    import netsuke.intake
    import netsuke.runtimes.onnxruntime  # noqa: F401
    from bench._minilm import minilm, sst2
    from netsuke import Budget
    from netsuke.core.observer import Observer
    from netsuke.core.recipe import read_recipe
    from netsuke.intake import take_goal, take_model

    bench = Bench(data=Path(case.data), cache=Path(case.cache), quick=case.quick)
    recipe = read_recipe(RECIPE.format(case.rounding, case.samples))
    goal = take_goal(sst2(bench), "local", Budget(), 0, Observer())
    _load_what_capturing_loads()
    _trim()
    imported = _resident("VmRSS")
    model = take_model(minilm(bench), goal.data, "minilm")
    # What reading the weights and capturing took is not quantizing; the network itself stays counted.
    _trim()
    Path("/proc/self/clear_refs").write_text("5")
    loaded = _resident("VmRSS")
    network = sum(p.numel() * 4 for p in model.network.parameters())
    with timed() as spent:
        for step in recipe:
            model = step.apply(model, goal)
    say(f"after the imports {imported:,}, with the network {loaded:,} bytes")
    return Used(_resident("VmHWM") - imported, network, spent.seconds["cpu"])


def _trim() -> None:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def _load_what_capturing_loads() -> None:
    """torch.export imports much when it is first used; a tiny network pays for it."""
    import torch

    from netsuke.nets.capture import capture

    capture(torch.nn.Linear(2, 2), (torch.zeros(2, 2),))


def _resident(field: str) -> int:
    """Bytes the kernel counts for this process: VmRSS is now, VmHWM the most there ever was."""
    lines = Path("/proc/self/status").read_text("utf8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    print(json.dumps(asdict(_child(Case(**json.loads(Path(sys.argv[1]).read_text("utf8")))))))
