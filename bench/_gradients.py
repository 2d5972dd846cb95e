"""Figure 5 of `bench federate`: two processes that train one network and tell each other less."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench._contest import gap
from bench._data import load_test, load_train
from bench._ddp import WARM
from bench._harness import ROOT, Bench, Claim, Figure, say
from bench._kept import kept_arrays
from bench._setup import VALIDATE
from bench._taught import half

SEEDS = (9, 10, 11)
"""Others than those on which the settings of ``bench/_ddp.py`` were chosen, 0 to 8."""
EPOCHS, ROWS = 24, slice(VALIDATE.stop, VALIDATE.stop + 20_000)
JUDGED = ("4 bits", "topk")
BESIDE = ("8 bits", "natural", "ternary", "sign", "fp16", "powersgd")
"""With one seed."""
SLACK = 20_000_000
"""Bytes for headers, and for the network itself, which is told once."""
Arm = dict[str, np.ndarray]


def compressed(bench: Bench) -> Figure:
    """ResNet-20 from scratch, its gradients in full and by each way."""
    arms = {arm: [_kept(bench, arm, seed) for seed in SEEDS] for arm in ("plain", *JUDGED)}
    arms |= {arm: [_kept(bench, arm, SEEDS[0])] for arm in BESIDE}
    bits, topk = (_lost(arms, arm) for arm in JUDGED)
    claims = (
        Claim("times fewer bytes by 4 bits", _times(arms, "4 bits", slice(None)), "x", "≥", 7),
        Claim("what 4 bits lose", bits["points"], "pt", "≤", 0.5),
        Claim("times fewer bytes by the largest values, after the warm-up", _times(arms, "topk", slice(WARM - EPOCHS, None)), "x", "≥", 100),
        Claim("times fewer, over the whole run", _times(arms, "topk", slice(None)), "x", "≥", 25),
        Claim("what the largest values lose", topk["points"], "pt", "≤", 1.0),
    )  # fmt: skip
    notes = tuple(
        f"{arm}: {100 * np.mean([found['right'].mean() for found in each]):.2f} % of {len(each)} seeds, "
        f"{_times(arms, arm, slice(None)):.1f} x fewer bytes"
        for arm, each in arms.items()
    )
    details = {
        arm: {"accuracy": [float(f["right"].mean()) for f in each], "wire": [f["wire"].tolist() for f in each], **_lost(arms, arm)}
        for arm, each in arms.items()
    }  # fmt: skip
    count = sum(len(found["right"]) for found in arms["4 bits"])
    return Figure("gradients of two processes", claims, count, details, notes)


def _kept(bench: Bench, arm: str, seed: int) -> Arm:
    text = (ROOT / "bench" / "_ddp.py").read_text(encoding="utf8")
    how = f"gradients {arm} {seed} {EPOCHS} {ROWS} {text}"
    return kept_arrays(bench, how, lambda: _trained(bench, arm, seed))


def _trained(bench: Bench, arm: str, seed: int) -> Arm:
    """right: by test image. wire: bytes over the loopback interface, by epoch."""
    x, y = load_train(bench).part(ROWS)
    count = bench.count(len(x), 512)
    test_x, test_y = load_test(bench)
    with tempfile.TemporaryDirectory(dir=bench.folder("runs")) as name:
        images, out = Path(name) / "images.npz", Path(name) / "out.npz"
        np.savez(images, x=x[:count], y=y[:count], test_x=test_x, test_y=test_y)
        start = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
        ]
        own = [
            str(ROOT / "bench" / "_ddp.py"),
            arm,
            str(seed),
            str(bench.count(EPOCHS, 2)),
            str(images),
            str(out),
        ]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        kept = {
            **os.environ,
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": path,
        }
        subprocess.run([*start, *own], env=kept, check=True)
        with np.load(out) as found:
            arm_found = dict(found)
    _alone_on_the_wire(arm, arm_found)
    say(
        f"  {arm}, seed {seed}: {100 * arm_found['right'].mean():.2f} %, {arm_found['wire'].sum() / 1e6:.1f} MB"
    )
    return arm_found


def _alone_on_the_wire(arm: str, found: Arm) -> None:
    """Raises RuntimeError where more went over the loopback interface than two processes say they sent: something else did."""
    said, wire = 2 * int(found["told"]), int(found["wire"].sum())
    if said and wire > 1.3 * said + SLACK:
        raise RuntimeError(
            f"{arm}: {wire:,} bytes on the wire, {said:,} of them by the two processes"
        )


def _times(arms: dict[str, list[Arm]], arm: str, epochs: slice) -> float:
    """How many times fewer bytes went over the wire in these epochs than in full."""
    plain, found = (
        np.mean([one["wire"][epochs].sum() for one in arms[name]]) for name in ("plain", arm)
    )
    return float(plain / found)


def _lost(arms: dict[str, list[Arm]], arm: str) -> dict[str, float]:
    """Points against gradients in full, with the same seeds."""
    pairs = list(zip(arms["plain"], arms[arm], strict=False))
    each = [100 * float(p["right"].mean() - f["right"].mean()) for p, f in pairs]
    whole, found = (np.concatenate([pair[i]["right"] for pair in pairs]) for i in range(2))
    return gap(whole, found) | {"over seeds": half(each)}
