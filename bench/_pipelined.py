"""Figures 1 and 2 of `bench shard`: what parts give, what they gain, what they weigh."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from bench._agents import agents
from bench._data import load_test
from bench._harness import Bench, Claim, Figure, say
from bench._setup import RESNET56, network, post_training
from netsuke.core.partition import Route
from netsuke.core.quantity import show
from netsuke.links.remote import Remote
from netsuke.links.served import Served, Serving
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.serving import Spread, serve, stop

if TYPE_CHECKING:
    from netsuke.core.artifact import Artifact
    from netsuke.core.data import Array
    from netsuke.testing.agents import Running

NAMES = ("a", "b", "c", "d")
PARTS = (2, 3, 4)
CLOSE = 1e-5
"""Relative to the largest output."""
HOP, HOPS, MOST_HOP = 200_000, 2000, 0.8
FASTER = {"MiniLM-L6": 1.6, "ResNet-56": 1.3}
REQUESTS, ROUNDS = 600, 5
LOST = 1.0
Samples = list[tuple["Array", ...]]


def pipelined(bench: Bench) -> Figure:
    """MiniLM-L6 and ResNet-56 over two to four agents."""
    claims: list[Claim] = []
    details: dict[str, Any] = {}
    with agents(bench, NAMES) as running:
        for name, (artifact, samples) in networks(bench, *MADE).items():
            apart = max(_apart(artifact, samples[: bench.count(200, 4)], count) for count in PARTS)
            rates = _rates(bench, artifact, samples)
            claims += [
                Claim(f"{name}: outputs apart, of the largest", apart, "", "≤", CLOSE),
                Claim(
                    f"{name}: answers a second, two parts ÷ one",
                    rates["ratio"],
                    "x",
                    "≥",
                    FASTER[name],
                ),
            ]
            details[name] = {"apart": apart, **rates}
        lost = _integers(bench)
        claims.append(Claim("ResNet-56: points lost by INT8 cuts", lost["points"], "pt", "≤", LOST))
        hop = _hop(bench, running["a"])
        claims.append(Claim(f"a hop of {show(HOP, 'B')}, p50", hop["p50"], "ms", "≤", MOST_HOP))
    details |= {"integers": lost, "hop": hop}
    return Figure("networks in parts", tuple(claims), bench.count(REQUESTS, 8), details)


def networks(bench: Bench, *names: str) -> dict[str, tuple[Artifact, Samples]]:
    """Those named, exported in FP32, each with single samples of its inputs."""
    import torch

    from netsuke.nets.capture import capture

    found = {}
    for name in names:
        net, samples = MADE[name](bench, bench.count(REQUESTS, 8))
        example = tuple(torch.from_numpy(np.concatenate([a, a])) for a in samples[0])
        found[name] = (exported(bench, capture(net.eval(), example, name), name), samples)
    return found


def _resnet(bench: Bench, count: int) -> tuple[Any, Samples]:
    return network(bench, RESNET56), [(x[None],) for x in load_test(bench)[0][:count]]


def _minilm(bench: Bench, count: int) -> tuple[Any, Samples]:
    from bench._minilm import minilm, sentences

    ids, mask, _ = (part[:count] for part in sentences(bench, "test"))
    return minilm(bench), [(i[None], m[None]) for i, m in zip(ids, mask, strict=True)]


MADE = {"ResNet-56": _resnet, "MiniLM-L6": _minilm}


def exported(bench: Bench, model: Any, name: str) -> Artifact:
    from netsuke.devices.local import local

    return OnnxRuntime().export(model, local(), bench.folder("shard") / f"{name}.onnx")


def spread(artifact: Artifact, devices: Sequence[str], **how: Any) -> Serving:
    near = (Route(bandwidth=1e12),) * (len(devices) - 1)
    return serve(artifact, OnnxRuntime(), devices, Spread(**{"name": "net", "routes": near, **how}))


def _apart(artifact: Artifact, samples: Samples, count: int) -> float:
    """The largest difference of an output, as a share of the largest output."""
    session = OnnxRuntime().open(artifact)
    wanted = np.concatenate([session.run(x)[0] for x in samples])
    found = spread(artifact, NAMES[:count])
    with Served(found) as called:
        given = np.concatenate([answer[0] for answer in called.map(samples)])
    stop(found, OnnxRuntime())
    say(f"  {len(found.parts)} parts: {np.abs(given - wanted).max():.2g} apart")
    return float(np.abs(given - wanted).max() / np.abs(wanted).max())


def _rates(bench: Bench, artifact: Artifact, samples: Samples) -> dict[str, Any]:
    """Answers a second of one agent that has it whole and of two with a part each, in turns."""
    one = spread(artifact, NAMES[:1], name="whole")
    two = spread(artifact, NAMES[:2], name="parts")
    rates: dict[str, list[float]] = {"one": [], "two": []}
    with Served(one) as whole, Served(two) as parts:
        for _ in range(bench.count(ROUNDS, 1)):
            for name, called in (("one", whole), ("two", parts)):
                start = time.perf_counter()
                done = sum(1 for _ in called.map(samples))
                rates[name].append(done / (time.perf_counter() - start))
    for found in (one, two):
        stop(found, OnnxRuntime())
    ratios = [b / a for a, b in zip(rates["one"], rates["two"], strict=True)]
    say(
        f"  two parts: {np.median(ratios):.2f} × the answers of one ({np.median(rates['one']):.0f} a second)"
    )
    return {"ratio": float(np.median(ratios)), "ratios": ratios, **rates, "parts": list(two.parts)}


def _integers(bench: Bench) -> dict[str, Any]:
    """ResNet-56 in floats, cut for two with integers at the cut, against itself on the test images."""
    from bench._contest import gap
    from bench._timing import outputs
    from netsuke.core.budget import Budget
    from netsuke.core.observer import Observer
    from netsuke.core.recipe import make_pass
    from netsuke.intake import take_goal, take_model

    goal = take_goal(post_training(bench), "local", Budget(), 0, Observer())
    model = take_model(network(bench, RESNET56), goal.data, "resnet56")
    made = make_pass("shard.pipeline", {}).apply(model, goal)
    x, y = load_test(bench)
    files = [exported(bench, one, name) for one, name in ((model, "floats"), (made, "integers"))]
    before, after = (outputs(file.path, x).argmax(1) == y for file in files)
    return gap(before, after) | {"step": made.lineage[-1].summary}


def _hop(bench: Bench, running: Running) -> dict[str, float]:
    """Milliseconds of 200 kB on their way to an agent: half of there and back."""
    with Remote("a", OnnxRuntime()) as link:
        taken = [link.echo(HOP) / 2 for _ in range(bench.count(HOPS, 20))]
    return {f"p{q}": 1e3 * float(np.quantile(taken, q / 100)) for q in (50, 95, 99)}


def within_limits(bench: Bench) -> Figure:
    """A ResNet-18-shaped network whose process takes more than any device may, on three agents."""
    import torch

    from bench._shapes import resnet18
    from netsuke.nets.capture import capture
    from netsuke.serving.network import SOCKETS, segmented

    example = (torch.zeros(2, 3, 224, 224),)
    artifact = exported(bench, capture(resnet18().eval(), example, "resnet18"), "resnet18")
    whole = segmented(artifact, OnnxRuntime())
    peak, idle = whole.process["peak"], whole.process["idle"]
    limit = int(SOCKETS + idle + 0.55 * (peak - idle))
    x = (np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32),)
    with agents(bench, NAMES[:3]) as running:
        refused = _refused(artifact, limit)
        found = spread(artifact, NAMES[:3], memory=(limit,) * 3)
        with Served(found) as called:
            apart = float(np.abs(called.run(x)[0] - OnnxRuntime().open(artifact).run(x)[0]).max())
            most = _most_memory(running.values(), called, [x] * bench.count(60, 3))
    claims = (
        Claim("most a part took, of its limit", most / limit, "", "≤", 1.0),
        Claim("what the whole takes, of a device's limit", peak / limit, "", ">", 1.0),
        Claim("refused on one device", float(refused), "", "≥", 1),
        Claim("devices that took part", len(found.parts), "", "≥", 2),
        Claim("outputs apart", apart, "", "≤", 1e-3),
    )
    note = f"whole {show(peak, 'B')}, limit {show(limit, 'B')}, largest part {show(most, 'B')}"
    return Figure(
        "more than any device holds",
        claims,
        bench.count(60, 3),
        {"parts": list(found.parts)},
        (note,),
    )


def _refused(artifact: Artifact, limit: int) -> bool:
    from netsuke.core.errors import NetsukeError

    try:
        spread(artifact, NAMES[:1], name="whole", memory=(limit,))
    except NetsukeError as error:
        say(f"  {error}")
        return True
    return False


def _most_memory(running: Any, called: Served, samples: Samples) -> int:
    """The most resident bytes of a part's process, looked at between answers."""
    most = 0
    for _ in called.map(samples):
        for one in running:
            for part in psutil.Process(one.process.pid).children():
                most = max(most, part.memory_info().rss)
    return most
