"""Figure 3 of `bench shard`: a slow edge, a fast cloud, and a link between them that is slow, less slow, and fast."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from bench._agents import disturbed, own_folders
from bench._bottleneck import bottleneck
from bench._harness import Bench, Claim, Figure
from bench._sent import Sent, sent
from bench._shaped import Link, shaped, within
from netsuke.core.observer import Observer
from netsuke.core.partition import Plan, Row, Share, best, costs
from netsuke.links.remote import Remote
from netsuke.links.served import Served
from netsuke.runtimes.onnxruntime import OnnxRuntime
from netsuke.serving import Spread
from netsuke.serving.network import Network, measured, segmented
from netsuke.serving.placement import Placement
from netsuke.serving.view import View
from netsuke.testing.agents import paired

if TYPE_CHECKING:
    from netsuke.core.artifact import Artifact
    from netsuke.core.data import Array
    from netsuke.core.model import Model

SLOWER = 8
RATES, DELAY = (1e6, 1e7, 1e8), 0.02
NEAR, SAVED = 0.05, 0.40
ROUNDS, PATIENCE = 9, 60
TRIED = 6
"""Cuts besides the planner's own that are served and timed: those it thinks best, and as many between them and the ends."""


NARROW = "ResNet-18 shape, narrow"
CAME_AS = {NARROW: "ResNet-18 shape"}
"""Networks that were changed for the cut, and what would run whole in their place."""


@dataclass(frozen=True)
class Net:
    """artifact: in floats. sample: one input. sent: what may be sent in place of its floats."""

    artifact: Artifact
    sample: Array
    sent: Mapping[str, Sent]


def split(bench: Bench) -> Figure:
    """UltraFace and a ResNet-18-shaped network between the two; the time alone of the latter with a bottleneck behind its first
    layers, beside it as it came; what a learned bottleneck costs, on ResNet-20."""
    learned, facts, said_of_it = bottleneck(bench)
    found: dict[str, list[dict[str, Any]]] = {}
    for name, net in _nets(bench).items():
        with _between(bench) as (link, edge, cloud):
            found[name] = _served(bench, net, link, (edge, cloud))
    for name, came in CAME_AS.items():
        for row, plain in zip(found[name], found[came], strict=True):
            row |= _beside(row, plain)
    rows = [(f"{name}, {row['rate'] / 1e6:g} Mbit/s", row) for name in found for row in found[name]]
    near = [
        Claim(f"{said}: the planner's cut over the best measured", row["over"], "x", "≤", 1 + NEAR)
        for said, row in rows
    ]
    saved = max(row["saved"]["raw"] for _, row in rows)
    most = Claim("most saved against all here and all there (raw)", saved, "", "≥", SAVED)
    notes = (*(f"{said}: {row['told']}" for said, row in rows), *said_of_it)
    return Figure(
        "edge and cloud",
        (*near, most, *learned),
        bench.count(ROUNDS, 2),
        found | {"bottleneck": facts},
        notes,
    )


def _nets(bench: Bench) -> dict[str, Net]:
    import torch
    from PIL import Image

    from bench._pipelined import exported
    from bench._shapes import resnet18
    from netsuke.nets.capture import capture

    faces = bench.data / "ultraface"
    with Image.open(faces / "imgs" / "1.jpg") as photo:
        sizes = {"UltraFace": (320, 240), "ResNet-18 shape": (224, 224)}
        pictures = {
            name: np.asarray(photo.convert("RGB").resize(size)) for name, size in sizes.items()
        }
    pictures[NARROW] = pictures["ResNet-18 shape"]
    samples = {
        name: ((p.transpose(2, 0, 1)[None].astype(np.float32) - 127) / 128)
        for name, p in pictures.items()
    }
    captured = capture(resnet18().eval(), (torch.zeros(2, 3, 224, 224),), "resnet18")
    artifacts = {
        "UltraFace": OnnxRuntime().adopt(faces / "version-RFB-320_without_postprocessing.onnx"),
        "ResNet-18 shape": exported(bench, captured, "resnet18"),
        NARROW: exported(bench, _narrow(captured, samples["ResNet-18 shape"]), "narrow18"),
    }  # fmt: skip
    return {
        name: Net(one, samples[name], sent(bench, one, samples[name], pictures[name]))
        for name, one in artifacts.items()
    }


def _narrow(model: Model, sample: Array) -> Model:
    """A quarter of the channels behind the first layers, in four bits. Its weights are random, so that only its time says
    something."""
    from netsuke.core.goal import Goal
    from netsuke.core.recipe import make_pass
    from netsuke.core.task import Task, ready
    from netsuke.devices import device

    data = ready(Task(calibrate=sample, validate=(sample, np.zeros(1, np.int64))))
    settings = {"behind": ("3",), "narrow": 0.25, "crossing": "int4", "epochs": 0}
    return make_pass("shard.pipeline", settings).apply(model, Goal(data=data, device=device("pi4")))


@contextmanager
def _between(bench: Bench) -> Iterator[tuple[Link, Remote, Remote]]:
    """A link, and what is at its ends: an edge SLOWER times as slow, and a cloud. This thread is on the edge."""
    with ExitStack() as stack:
        link = stack.enter_context(shaped())
        folder = stack.enter_context(own_folders(bench))
        with within(link.names[1]):
            stack.enter_context(paired(folder, "cloud", link.hosts[1]))
        stack.enter_context(within(link.names[0]))
        with disturbed(SLOWER=str(SLOWER)):
            stack.enter_context(paired(folder, "edge", link.hosts[0]))
        edge, cloud = (
            stack.enter_context(Remote(name, OnnxRuntime())) for name in ("edge", "cloud")
        )
        yield link, edge, cloud


def _served(bench: Bench, net: Net, link: Link, links: Sequence[Remote]) -> list[dict[str, Any]]:
    """For each rate: what the planner chose, and what it and others take."""
    link.set(1e10, 0.0)
    network = segmented(net.artifact, OnnxRuntime())
    row = measured(network, links, Spread(name="net", objective="latency"), Observer())
    found = []
    for rate in RATES:
        link.set(rate, DELAY)
        seen = View(row, links, None).first()
        chosen = best(seen, "latency")
        link.set(1e10, 0.0)  # for shipping
        taken, ways = _timed(bench, net, (link, rate), (network, seen, _tried(seen, chosen), links))
        found.append(_told(rate, seen, chosen, taken, ways))
    return found


def _tried(row: Row, chosen: Plan) -> dict[str, Plan]:
    """The planner's own, all on either device, and other cuts, each once."""
    segments = row.segments
    cuts = [costs(row, (Share(0, 0, k), Share(1, k, segments))) for k in range(1, segments)]
    order = sorted(cuts, key=lambda plan: plan.latency)
    some = [*order[:TRIED], *order[TRIED :: max(1, len(order) // TRIED)]]
    near = [plan for plan in some if plan.latency < 2 * chosen.latency]
    ends = [costs(row, (Share(seat, 0, segments),)) for seat in (0, 1)]
    return {_name(plan): plan for plan in (*ends, *near, chosen)}


def _name(plan: Plan) -> str:
    """Where all is, or the segments before the cut."""
    return (
        ("edge", "cloud")[plan.shares[0].seat] if len(plan.shares) == 1 else str(plan.shares[0].end)
    )


def _timed(
    bench: Bench,
    net: Net,
    at: tuple[Link, float],
    served: tuple[Network, Row, Mapping[str, Plan], Sequence[Remote]],
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """(seconds of requests by each plan, in turns; of those that send a picture's bytes), at a rate of the link."""
    (link, rate), (network, row, plans, links) = at, served
    cloud = links[-1]
    by_name = {one.name: one for one in links}
    taken: dict[str, list[float]] = {name: [] for name in (*plans, *net.sent)}
    with ExitStack() as stack:
        called = {}
        for name, plan in plans.items():
            how = Spread(name=f"net-{name}", objective="latency")
            found = Placement(network, row, plan, how, by_name).served(Observer())
            found.write()
            called[name] = stack.enter_context(Served(found))
        calls = {name: partial(one.run, (net.sample,), PATIENCE) for name, one in called.items()}
        calls |= {
            n: partial(cloud.open(one.artifact).run, (one.data,)) for n, one in net.sent.items()
        }
        link.set(rate, DELAY)
        for turn in range(bench.count(ROUNDS, 2) + 1):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if turn:
                    taken[name].append(time.perf_counter() - start)
        link.set(1e10, 0.0)
    for one in links:
        for part in one.parts():
            if not part.startswith("call-"):
                one.stop(part)
    ways = {
        name: float(np.median(taken.pop(name))) + one.decoding for name, one in net.sent.items()
    }
    return taken, ways


def _told(
    rate: float, row: Row, chosen: Plan, taken: Mapping[str, list[float]], ways: Mapping[str, float]
) -> dict[str, Any]:
    seconds = {name: float(np.median(each)) for name, each in taken.items()}
    ours, least = seconds[_name(chosen)], min(seconds.values())
    chose = f"{_name(chosen)} of {row.segments}: {1e3 * ours:.0f} ms ({1e3 * chosen.latency:.0f} planned; best {1e3 * least:.0f})"
    told = {
        "rate": rate, "over": ours / least, "ours": ours, "chose": chose, "seconds": seconds, "ways": dict(ways),
        "planned": chosen.latency, "route": [row.seats[0].route.bandwidth, row.seats[0].route.delay],
    }  # fmt: skip
    return told | _beside(told, told)


def _beside(row: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """What the planner's cut saves against a network that runs whole, here or there."""
    edge, ways = whole["seconds"]["edge"], whole["ways"]
    saved = {kind: 1 - row["ours"] / min(edge, ways[kind]) for kind in ("raw", "JPEG")}
    told = (
        f"{row['chose']}, all on the edge {1e3 * edge:.0f}, all on the cloud {1e3 * ways['raw']:.0f} raw, "
        f"{1e3 * ways['JPEG']:.0f} JPEG"
    )
    return {"saved": saved, "told": told}
