"""Figures 1 and 4 of `bench federate`: networks that several clients train, in full and with little to tell."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bench._agents import environment
from bench._contest import gap
from bench._harness import Bench, Claim, Figure, say
from bench._kept import kept_arrays
from bench._timing import compare, outputs
from netsuke.core.observer import Observer

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)
LITTLE = {"compress": "topk:0.15:natural", "prune": 0.35}
"""How the clients of the second arm tell what they learned, and the share of the time that leaves meanwhile."""


LEARNING = {"batch": 16, "lr": 0.01}


@dataclass(frozen=True)
class Case:
    """workload: its file. how: what is asked of the federation."""

    workload: str
    how: Mapping[str, Any]


CASES = {
    "CIFAR-10, Dirichlet 0.5": Case(
        "_federated_pictures.py",
        {"clients": 10, "partition": "dirichlet:0.5", "rounds": 20, "epochs": 2, **LEARNING},
    ),
    "spoken digits by speaker": Case(
        "_federated_speech.py",
        {"clients": 6, "partition": "owners", "rounds": 16, "epochs": 3, **LEARNING},
    ),
}
ARMS: dict[str, dict[str, Any]] = {"plain": {}, "little": LITTLE}
FEW = 8
"""Rounds of which each is timed."""
Arm = dict[str, np.ndarray]
T = TypeVar("T")


def little(bench: Bench) -> Figure:
    """FedAvg, and beside it channels that leave while it trains and updates of the largest values."""
    claims, notes, details, count = list[Claim](), list[str](), dict[str, Any](), 0
    for name in CASES:
        pairs = [[_kept(bench, name, arm, seed) for arm in ARMS] for seed in SEEDS]
        plain, small = zip(*pairs, strict=True)
        found = _compared(plain, small)
        count += sum(len(arm["right"]) for arm in plain)
        details[name] = found
        claims += [
            Claim(f"{name}: lost", found["apart"]["points"], "pt", "≤", 1.0),
            Claim(f"{name}: times fewer bytes up", found["fewer"], "x", "≥", 20),
            Claim(f"{name}: smaller", found["smaller"], "%", "≥", 50),
            Claim(f"{name}: faster", found["faster"], "x", ">", 1),
        ]
        notes.append(_said(name, found))
    return Figure("clients with little to tell", tuple(claims), count, details, tuple(notes))


def _said(name: str, found: Mapping[str, Any]) -> str:
    plain, small = found["accuracy"]
    apart = found["apart"]
    return (
        f"{name}: {100 * plain:.2f} → {100 * small:.2f} % ({apart['points']:+.2f} pt lost, 95 % {apart['low']:+.2f} … "
        f"{apart['high']:+.2f}), {found['up'][0] / 1e6:.1f} → {found['up'][1] / 1e6:.2f} MB up in a federation; "
        f"{found['late'][0]}, {found['late'][1]} answers not waited for"
    )


def overhead(bench: Bench) -> Figure:
    """Of the first rounds of figure 1's plain federations all that is not the clients' training, which the cores share out: what
    the server makes of it, judges and keeps too."""
    every = {name: _timed(bench, name) for name in CASES}
    rest = {
        name: (arm["seconds"] - arm["work"] / min(os.cpu_count() or 1, CASES[name].how["clients"]))[
            1:
        ]
        for name, arm in every.items()
    }
    claims = tuple(
        Claim(f"{name}: round without training", float(np.median(each)), "s", "≤", 3.0)
        for name, each in rest.items()
    )
    notes = tuple(
        f"{name}: {CASES[name].how['clients']} clients, a round {np.median(every[name]['seconds']):.1f} s; the longest without "
        f"training {each.max():.1f} s"
        for name, each in rest.items()
    )
    details = {name: each.tolist() for name, each in rest.items()}
    return Figure("rounds beside training", claims, min(map(len, rest.values())), details, notes)


def _timed(bench: Bench, name: str) -> Arm:
    """seconds, work: by round."""
    case, watch = CASES[name], Stamps()
    short = Case(case.workload, {**case.how, "rounds": FEW, "observer": watch})
    _, record = federated(bench, short, {}, 0, empty(bench))
    work = np.array([one["work"] for one in record["rounds"]])
    return {"seconds": np.diff(watch.stamps), "work": work}


class Stamps(Observer):
    """When each round began, and when the last one was over."""

    def __init__(self) -> None:
        self.stamps: list[float] = []

    def track(self, items: Iterable[T], label: str) -> Iterator[T]:
        for item in items:
            self._stamp(label)
            yield item
        self._stamp(label)

    def _stamp(self, label: str) -> None:
        if label == "rounds":
            self.stamps.append(time.monotonic())


def _compared(plain: Sequence[Arm], small: Sequence[Arm]) -> dict[str, Any]:
    """Of all seeds together; the least of what each seed gained."""
    right = [np.concatenate([arm["right"] for arm in arms]) for arms in (plain, small)]
    pairs = list(zip(plain, small, strict=True))
    up = [float(np.mean([arm["up"].sum() for arm in arms])) for arms in (plain, small)]
    return {
        "apart": gap(*right),
        "accuracy": [float(each.mean()) for each in right],
        "up": up,
        "fewer": min(float(a["up"].sum() / b["up"].sum()) for a, b in pairs),
        "smaller": min(100 * (1 - float(b["bytes"] / a["bytes"])) for a, b in pairs),
        "faster": min(float(b["faster"]) for _, b in pairs),
        "late": [int(sum(arm["late"].sum() for arm in arms)) for arms in (plain, small)],
        "updates": [
            float(np.mean([arm["updates"].sum() for arm in arms])) for arms in (plain, small)
        ],
    }


def _kept(bench: Bench, name: str, arm: str, seed: int) -> Arm:
    case = CASES[name]
    text = (HERE / case.workload).read_text(encoding="utf8") + (HERE / "_convnet.py").read_text(
        encoding="utf8"
    )
    how = f"federated {name} {dict(case.how)} {ARMS[arm]} {seed} {text}"
    return kept_arrays(bench, how, lambda: _federated(bench, name, arm, seed))


def _federated(bench: Bench, name: str, arm: str, seed: int) -> Arm:
    """right: by test sample. late: answers not waited for. up, seconds, work, updates: by round. bytes: of the file. faster: than the network as it came."""
    run, record = federated(bench, CASES[name], ARMS[arm], seed, empty(bench))
    x, y = task_of(bench, CASES[name].workload).test
    files = {"came": run.baseline.path, "trained": run.artifact.path}
    faster = compare(files, "came", x[:1], bench.count(10, 1))["trained"].ratio
    rounds = record["rounds"]
    right = outputs(run.artifact.path, x).argmax(1) == y
    found = {
        "right": right, "bytes": np.array(run.artifact.path.stat().st_size), "faster": np.array(faster),
        "up": np.array([one["wire"][0] for one in rounds]), "updates": np.array([one["up"] for one in rounds]),
        "late": np.array([len(one["late"]) for one in rounds]),
        "seconds": np.array([one["seconds"] for one in rounds]), "work": np.array([one["work"] for one in rounds]),
    }  # fmt: skip
    say(
        f"  {name}, {arm}, seed {seed}: {100 * right.mean():.2f} %, {found['up'].sum() / 1e6:.2f} MB up, "
        f"{found['bytes'] / 1e3:.0f} kB, {faster:.2f} x as fast, a round {np.median(found['seconds']):.1f} s"
    )
    return found


def empty(bench: Bench) -> Path:
    """The folder of this process's federations, with nothing in it."""
    out = bench.folder("runs") / f"federation-{os.getpid()}"
    shutil.rmtree(out, ignore_errors=True)
    return out


def federated(
    bench: Bench, case: Case, arm: Mapping[str, Any], seed: int, out: Path
) -> tuple[Any, dict[str, Any]]:
    """(the run, ``federation.json``) of a federation. arm: "strategy", "compress", "prune". out: where it goes on, if some of
    it is there."""
    from netsuke.federation.adaptive import Pruning
    from netsuke.federation.plan import Plan
    from netsuke.federation.strategies import Aggregation
    from netsuke.federation.verb import federate
    from netsuke.record import Origin
    from netsuke.workload import read_workload

    path = HERE / case.workload
    with environment(**_told(bench, seed)):
        given = read_workload(path)
        plan = Plan(
            **{**case.how, "rounds": bench.count(case.how["rounds"], 3)}, out=out, seed=seed,
            compress=arm.get("compress", "full"), pruning=Pruning(ratio=arm.get("prune", 0.0)),
            aggregation=Aggregation(name=arm.get("strategy", "fedavg")), origin=Origin(workload=str(path)),
        )  # fmt: skip
        found = federate(given.model, given.task, plan)
    return found.run, found.record


def _told(bench: Bench, seed: int) -> dict[str, str]:
    """What a workload's file reads."""
    return {
        "NETSUKE_DATA": str(bench.data),
        "SEED": str(seed),
        "REHEARSE": "1" if bench.quick else "",
        "OMP_NUM_THREADS": "1",
    }


def task_of(bench: Bench, workload: str) -> Any:
    from netsuke.workload import read_workload

    with environment(**_told(bench, 0)):
        return read_workload(HERE / workload).task
