"""Figures 2 and 3 of `bench federate`: a client that means harm, and machines that fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench._agents import disturbed
from bench._contest import gap
from bench._federated import FEW, LEARNING, SEEDS, Case, empty, federated, task_of
from bench._harness import Bench, Claim, Figure, say
from bench._kept import kept_arrays, kept_json
from bench._timing import outputs

CASE = Case(
    "_federated_speech.py",
    {"clients": 10, "partition": "even", "rounds": 12, "epochs": 3, **LEARNING},
)
LONGER = 60
"""Rounds in which a client that was killed is let in again, which Flower does a minute after."""
TIMES = 5.0
"""A round that a straggler does not stop takes no more than so many times one without: others have thrice as long as half of
them took, and those whom the straggler's process serves too begin late."""


def hostile(bench: Bench) -> Figure:
    """One of ten sends the contrary of what it learned, ten times; no numbers; a thousand times what it learned."""
    right = {
        (name, how): np.concatenate([_right(bench, name, how, seed) for seed in SEEDS])
        for name in ("fedavg", "fedmedian")
        for how in ("", "away")
    }
    moved = {name: gap(right[name, ""], right[name, "away"]) for name in ("fedavg", "fedmedian")}
    named = {how: _named(bench, how) for how in ("nan", "absurd")}
    claims = (
        Claim("moved: FedMedian", moved["fedmedian"]["points"], "pt", "≤", 3.0),
        Claim("moved: FedAvg", moved["fedavg"]["points"], "pt", ">", 20.0),
        *(
            Claim(
                f"rounds in which {how} updates are rejected by name",
                100 * found["named"],
                "%",
                "≥",
                100,
            )
            for how, found in named.items()
        ),
    )
    notes = tuple(
        f"{name}{', one hostile' if how else ''}: {100 * found.mean():.2f} %"
        for (name, how), found in right.items()
    ) + tuple(f"{how}: {found['said']}" for how, found in named.items())
    return Figure(
        "one hostile client of ten",
        claims,
        len(right["fedavg", ""]),
        {"moved": moved, "named": named},
        notes,
    )


def failing(bench: Bench) -> Figure:
    """A server that is killed, a client that is killed, a client that sleeps."""
    server, client, slow = (_kept(bench, kind) for kind in ("server", "client", "straggler"))
    claims = (
        Claim("rounds lost or repeated by a server that was killed", server["wrong"], "", "≤", 0),
        Claim("rounds until a client that was killed is heard again", client["back"], "", "≤", 60),
        Claim("rounds that failed meanwhile", client["wrong"], "", "≤", 0),
        Claim(
            "the longest round with a straggler over one without", slow["times"], "x", "≤", TIMES
        ),
        Claim("rounds in which the straggler was not waited for", slow["late"], "", "≥", 1),
    )
    return Figure(
        "machines that fail",
        claims,
        CASE.how["rounds"],
        {"server": server, "client": client, "straggler": slow},
    )


def _right(bench: Bench, strategy: str, how: str, seed: int) -> np.ndarray:
    return kept_arrays(
        bench,
        f"misled {CASE} {strategy} {how} {seed}",
        lambda: _trained(bench, strategy, how, seed),
    )["right"]


def _trained(bench: Bench, strategy: str, how: str, seed: int) -> dict[str, np.ndarray]:
    with _misled(how):
        run, _ = federated(bench, CASE, {"strategy": strategy}, seed, empty(bench))
    x, y = task_of(bench, CASE.workload).test
    found = outputs(run.artifact.path, x).argmax(1) == y
    say(f"  {strategy}{', one hostile' if how else ''}, seed {seed}: {100 * found.mean():.2f} %")
    return {"right": found}


def _named(bench: Bench, how: str) -> dict[str, Any]:
    return kept_json(bench, f"misled {CASE} {how}", lambda: _rejected(bench, how))  # type: ignore[no-any-return]


def _rejected(bench: Bench, how: str) -> dict[str, Any]:
    """Share of the rounds in which the first client, and no other, was rejected; and why."""
    with _misled(how):
        _, record = federated(bench, CASE, {}, 0, empty(bench))
    rounds = record["rounds"]
    return {
        "named": sum(list(one["rejected"]) == ["client-1"] for one in rounds) / len(rounds),
        "said": "; ".join(sorted(rounds[-1]["rejected"].values())),
    }


def _kept(bench: Bench, kind: str) -> dict[str, Any]:
    make = {"server": _server, "client": _client, "straggler": _slow}[kind]
    return kept_json(bench, f"failing {CASE} {kind}", lambda: make(bench))  # type: ignore[no-any-return]


def _server(bench: Bench) -> dict[str, Any]:
    """Killed in a process of its own, and asked again here."""
    import multiprocessing

    out = empty(bench)
    child = multiprocessing.get_context("spawn").Process(
        target=federated, args=(bench, CASE, {}, 0, out)
    )
    child.start()
    while (before := _rounds(out)) < bench.count(5, 1):
        if not child.is_alive():
            raise RuntimeError(
                f"the federation ended with {child.exitcode} before it could be killed"
            )
        time.sleep(0.1)
    child.kill()
    child.join()
    _, record = federated(bench, CASE, {}, 0, out)
    numbers = [one["number"] for one in record["rounds"]]
    wanted = list(range(1, bench.count(CASE.how["rounds"], 3) + 1))
    say(f"  killed after {before} rounds; in the end {numbers}")
    return {
        "before": before,
        "wrong": len(set(wanted) ^ set(numbers)) + len(numbers) - len(set(numbers)),
    }


def _rounds(out: Path) -> int:
    """That are over, and written down."""
    try:
        return len(json.loads((out / "federation.json").read_text(encoding="utf8"))["rounds"])
    except FileNotFoundError:
        return 0


def _client(bench: Bench) -> dict[str, Any]:
    """The SuperNode of one is killed after a few rounds; rounds go on, and it comes back."""
    out, done = empty(bench), threading.Event()

    def kill() -> None:
        while _rounds(out) < 3 and not done.is_set():
            time.sleep(0.1)
        for process in psutil.Process().children():
            line = " ".join(process.cmdline())
            if "federation.flower node" in line and "client-2" in line:
                process.kill()

    threading.Thread(target=kill, daemon=True).start()
    longer = Case(CASE.workload, {**CASE.how, "rounds": LONGER})
    _, record = federated(bench, longer, {}, 0, out)
    done.set()
    heard = ["client-2" in one["heard"] for one in record["rounds"]]
    gone = heard.index(False) if False in heard else len(heard)
    back = heard[gone:].index(True) if True in heard[gone:] else 10_000
    say(f"  without client-2 from round {gone + 1}, back after {back} rounds")
    return {"gone": gone, "back": back, "wrong": bench.count(LONGER, 3) - len(heard)}


def _slow(bench: Bench) -> dict[str, Any]:
    """The longest round in which the first client sleeps before it answers, over the median one of a federation where none
    does."""
    short = Case(CASE.workload, {**CASE.how, "rounds": FEW})
    _, without = federated(bench, short, {}, 0, empty(bench))
    with _misled("slow"):
        _, record = federated(bench, CASE, {}, 0, empty(bench))
    late = ["client-1" in one["late"] for one in record["rounds"]]
    every, plain = ([one["seconds"] for one in found["rounds"]] for found in (record, without))
    say(
        f"  late in {sum(late)} of {len(late)} rounds; seconds {np.round(every, 1).tolist()}, without {np.round(plain, 1).tolist()}"
    )
    return {
        "late": sum(late),
        "times": max(every) / float(np.median(plain)),
        "seconds": every,
        "without": plain,
    }


@contextmanager
def _misled(how: str) -> Iterator[None]:
    """The first client of a federation is another than it should be; "" for not at all."""
    if not how:
        yield
        return
    with disturbed(MISLED=how):
        yield
