"""Figures 4 and 5 of `bench shard`: requests while parts die, links break and strangers knock."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from bench._agents import agents
from bench._bare import bare
from bench._harness import Bench, Claim, Figure, say
from bench._pipelined import NAMES, networks, spread
from netsuke.links.served import Served
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.testing.agents import Proxy
from netsuke.wire.message import WireError

if TYPE_CHECKING:
    from netsuke.core.artifact import Artifact
    from netsuke.links.served import Serving
    from netsuke.testing.agents import Running

REQUESTS, KILLS = 1000, 100
CALLS, CLIENTS = 10_000, 8
FRAMES = 100_000
OVER = 400.0
BLOCK, SETTLED = 60, 10
"""Calls at a time, and how many of them at the beginning are not counted."""


def killed(bench: Bench) -> Figure:
    """ResNet-56 on two agents: a part is killed a hundred times under a thousand requests."""
    requests, kills = bench.count(REQUESTS, 40), bench.count(KILLS, 4)
    artifact, samples = networks(bench, "ResNet-56")["ResNet-56"]
    wanted = _expected(artifact, samples)
    tally = {"right": 0, "wrong": 0, "named errors": 0, "kills": 0}
    with agents(bench, NAMES[:2]) as running:
        found = spread(artifact, NAMES[:2])
        with Served(found) as called:
            for number in range(requests):
                name = called.send(samples[number % len(samples)], 60.0)
                if (number + 1) * kills // requests > tally["kills"]:
                    tally["kills"] += _kill(running, number)
                while not called.answered(name):
                    called.turn()
                try:
                    close = np.allclose(
                        called.take(name)[0], wanted[number % len(samples)], rtol=1e-4, atol=1e-4
                    )
                    tally["right" if close else "wrong"] += 1
                except WireError as error:
                    say(f"  request {number}: {error}")
                    tally["named errors"] += 1
    claims = (
        Claim(
            "requests answered, right or with a named error",
            tally["right"] + tally["named errors"],
            "",
            "≥",
            requests,
        ),
        Claim("answered wrong", tally["wrong"], "", "≤", 0),
        Claim("parts killed", tally["kills"], "", "≥", kills),
    )
    return Figure("parts that are killed", claims, requests, tally)


def _kill(running: dict[str, Running], seed: int) -> int:
    """End a part without a word; which one is drawn."""
    one = random.Random(seed).choice(list(running.values()))
    parts = [
        p for p in psutil.Process(one.process.pid).children() if "netsuke.agent.part" in p.cmdline()
    ]
    for part in parts[:1]:
        part.kill()
    return len(parts[:1])


def _expected(artifact: Artifact, samples: Any) -> list[Any]:
    session = OnnxRuntime().open(artifact)
    return [session.run(x)[0] for x in samples]


def hardship(bench: Bench) -> Figure:
    """One agent with ResNet-56: what a call costs over one in the same process, many clients while it is restarted and the
    network cut, and a hundred thousand frames of strangers."""
    artifact, samples = networks(bench, "ResNet-56")["ResNet-56"]
    with agents(bench, NAMES[:1]) as running:
        (agent,) = running.values()
        found = spread(artifact, NAMES[:1])
        over = _over(bench, artifact, found, samples)
        crowd = _crowd(bench, agent, artifact, found, samples)
        before = psutil.Process(agent.process.pid).memory_info().rss
        answered = _strangers(bench, agent)
        grown = psutil.Process(agent.process.pid).memory_info().rss - before
        alive = agent.process.poll() is None
        with Served(found) as called:
            after = called.run(samples[0])[0]
    claims = (
        Claim(
            "p95 of one call after the other, over that in the same process",
            over["p95"],
            "µs",
            "≤",
            OVER,
        ),
        Claim("answers lost", crowd["lost"], "", "≤", 0),
        Claim("answers wrong or doubled", crowd["wrong"], "", "≤", 0),
        Claim("strangers that were answered", answered, "", "≤", 0),
        Claim("memory grown under their frames", grown / 1e6, "MB", "≤", 16.0),
        Claim("answers after them", float(alive and np.isfinite(after).all()), "", "≥", 1),
    )
    notes = (
        f"a call over one in the same process: p50 {over['p50']:.0f} µs, p95 {over['p95']:.0f} µs; through a bare socket with CURVE "
        f"{over['bare p50']:.0f} and {over['bare p95']:.0f} µs",
    )
    details = {"over": over, "crowd": crowd}
    return Figure("an agent under hardship", claims, crowd["calls"], details, notes)


def _over(bench: Bench, artifact: Artifact, found: Any, samples: Any) -> dict[str, float]:
    """Microseconds that a call takes longer there than here, quantile by quantile: ``BLOCK`` calls of each in turns, as a client
    calls, who has nothing else to do. bare: of a call around which there is nothing but a socket."""
    here, blocks = OnnxRuntime().open(artifact), bench.count(60, 1)
    taken: dict[str, list[float]] = {"here": [], "there": [], "bare": []}
    with Served(found) as called, bare(artifact.path) as around:
        ways = {"here": here.run, "there": called.run, "bare": lambda x: around(x[0])}
        for number in range(blocks):
            for name, run in ways.items():
                took = []
                for i in range(BLOCK):
                    start = time.perf_counter()
                    run(samples[(number * BLOCK + i) % len(samples)])
                    took.append(1e6 * (time.perf_counter() - start))
                taken[name] += took[SETTLED:]
    at = {name: np.quantile(took, (0.5, 0.95)) for name, took in taken.items()}
    return {
        f"{kind}p{q}": float(at[name][i] - at["here"][i])
        for name, kind in (("there", ""), ("bare", "bare "))
        for i, q in enumerate((50, 95))
    }


def _crowd(
    bench: Bench, agent: Running, artifact: Artifact, found: Any, samples: Any
) -> dict[str, int]:
    """Eight clients at once, a proxy between them and the agent that is cut once, a part that is restarted once."""
    calls = bench.count(CALLS, 80)
    wanted = _expected(artifact, samples)
    tally = {"calls": 0, "lost": 0, "wrong": 0}
    lock = threading.Lock()

    def client(number: int, serving: Serving) -> None:
        mine, answers = range(number, calls, CLIENTS), list[Any]()
        with Served(serving) as called, suppress(WireError):
            answers.extend(called.map((samples[i % len(samples)] for i in mine), patience=120.0))
        right = sum(
            np.allclose(answer[0], wanted[i % len(samples)], rtol=1e-4, atol=1e-4)
            for answer, i in zip(answers, mine, strict=False)
        )
        with lock:
            tally["calls"] += len(answers)
            tally["lost"] += len(mine) - len(answers)
            tally["wrong"] += len(answers) - right

    proxy, pause = Proxy(found.address), 0.1 if bench.quick else 1.0
    serving = replace(found, address=proxy.address)
    threads = [threading.Thread(target=client, args=(n, serving)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for happens in (proxy.cut, partial(_kill, {"a": agent}, 0)):
        time.sleep(pause)
        happens()
    for thread in threads:
        thread.join()
    proxy.close()
    return tally


def _strangers(bench: Bench, agent: Running) -> int:
    """Random frames from who has no key, over many connections; how many bytes beyond a greeting came back."""
    draw, left, answered = random.Random(0), bench.count(FRAMES, 500), 0
    host, port = agent.address.removeprefix("tcp://").split(":")
    greeting = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
    while left > 0:
        with socket.create_connection((host, int(port)), timeout=2) as link:
            link.settimeout(0.05)
            try:
                if draw.random() < 0.8:
                    link.sendall(greeting)
                for _ in range(min(left, 200)):
                    size = draw.randrange(1, 300)
                    link.sendall(
                        bytes([draw.choice((0, 1, 2, 4, 6))])
                        + bytes([size % 256])
                        + os.urandom(size)
                    )
                    left -= 1
                answered += max(len(link.recv(4096)) - len(greeting), 0)
            except OSError:
                left -= 1
    return answered
