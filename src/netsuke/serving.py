"""A network spread over devices: planned by what was measured, shipped in parts, served front to back."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netsuke.core.artifact import Artifact
from netsuke.core.cut import Cut, Part, Tensor
from netsuke.core.data import Array
from netsuke.core.feed import example
from netsuke.core.observer import Observer
from netsuke.core.partition import Objective, Plan, Route, Row, Seat, best
from netsuke.core.runtime import Runtime
from netsuke.links.book import check_name
from netsuke.links.remote import Remote
from netsuke.links.served import Serving
from netsuke.probes.memory import fresh


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a network is to be spread. objective: many answers a second, or each soon. memory: the most bytes its process
    may take on each device, None for any. routes: between each device and the next; None measures them from here."""

    name: str
    objective: Objective = "throughput"
    memory: tuple[int | None, ...] = ()
    routes: tuple[Route, ...] | None = None

    def __post_init__(self) -> None:
        check_name(self.name)

    def limit(self, seat: int) -> int | None:
        return self.memory[seat] if seat < len(self.memory) else None


@dataclass(frozen=True)
class Network:
    """What is spread. cuts: the places between its segments. segments: their files' contents, front to back. answer: to
    one made-up sample. process: resident bytes of one that runs it whole, "idle" before and "peak" at most."""

    artifact: Artifact
    runtime: Runtime
    cuts: tuple[Cut, ...]
    segments: tuple[bytes, ...]
    answer: tuple[Array, ...]
    process: dict[str, int]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(Tensor(*told) for told in self.artifact.inputs)

    @property
    def crossing(self) -> tuple[float, ...]:
        """Bytes of one sample's input, at each cut, and of its output."""
        ends = (sum(t.size for t in self.inputs), sum(a.nbytes for a in self.answer))
        return (float(ends[0]), *(float(cut.size) for cut in self.cuts), float(ends[1]))

    def takes(self, start: int, end: int) -> float:
        """Resident bytes of a process that runs these segments: of what the whole takes, their share by their size."""
        sizes = [len(segment) for segment in self.segments]
        share = sum(sizes[start:end]) / sum(sizes)
        return self.process["idle"] + share * (self.process["peak"] - self.process["idle"])


def serve(
    artifact: Artifact,
    runtime: Runtime,
    devices: Sequence[str],
    how: Spread,
    observer: Observer | None = None,
) -> Serving:
    """Cut the artifact, ship the parts, and serve them on these paired devices, of which the first is called.

    Raises NetsukeError where a device does not answer, or none can hold its part, saying what would fit.
    """
    watch = observer or Observer()
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        links = [stack.enter_context(Remote(name, runtime)) for name in devices]
        network = segmented(artifact, runtime)
        row = measured(network, links, how, watch)
        plan = best(row, how.objective)
        inner = [network.cuts[share.start - 1] for share in plan.shares[1:]]
        parts = runtime.parts(artifact, inner, Path(folder))
        found = _started(network, parts, [links[share.seat] for share in plan.shares], how, plan)
    found = replace(found, parts=_told(network, row, plan, found.parts))
    found.write()
    return found


def segmented(artifact: Artifact, runtime: Runtime) -> Network:
    """The artifact with every place where it can be cut."""
    cuts = runtime.cuts(artifact)
    with tempfile.TemporaryDirectory() as folder:
        parts = runtime.parts(artifact, cuts, Path(folder))
        segments = tuple(part.artifact.path.read_bytes() for part in parts)
    answer = runtime.open(artifact).run(example(artifact))
    return Network(artifact, runtime, cuts, segments, answer, fresh(artifact))


def measured(network: Network, links: Sequence[Remote], how: Spread, watch: Observer) -> Row:
    """Every segment timed on every device, and the ways between them."""
    seats = []
    for number, link in enumerate(watch.track(links, "timing segments")):
        between = how.routes[number : number + 1] if how.routes else (link.route(),)
        seats.append(
            Seat(name=link.name, seconds=_seconds(network, link), memory=how.limit(number),
                 route=between[0] if between else Route(bandwidth=float("inf")))
        )  # fmt: skip
    return Row(seats=tuple(seats), crossing=network.crossing, takes=network.takes)


def _seconds(network: Network, link: Remote) -> tuple[float, ...]:
    """Of each segment, what it takes to call a file left out: all of them take what the whole does."""
    rounds = link.turns([network.artifact.path.read_bytes(), *network.segments])
    whole, *each = np.median(np.array(rounds), axis=0)
    call = max(sum(each) - whole, 0.0) / max(len(each) - 1, 1)
    return tuple(float(max(seconds - call, 0.0)) for seconds in each)


def _started(
    network: Network, parts: Sequence[Part], links: Sequence[Remote], how: Spread, plan: Plan
) -> Serving:
    """The parts served from the last to the first, each told where it goes on."""
    of, onward = network.artifact.sha256, dict[str, str]()
    states: list[dict[str, Any]] = []
    for place in reversed(range(len(parts))):
        part, link = parts[place], links[place]
        stage = {"of": of, "gives": list(part.gives), "passes": list(part.passes)}
        guests = [links[place - 1].public] if place else []
        name = f"{how.name}-{place + 1}-of-{len(parts)}"
        told = {
            "name": name,
            "stage": stage,
            "next": onward or None,
            "guests": guests,
            "threads": 1,
        }
        limit = how.limit(plan.shares[place].seat)
        state = link.serve(part.artifact, {**told, "memory": limit})
        states.insert(0, {"part": name, **state})
        onward = {
            "name": f"{link.name}: {name}",
            "address": state["address"],
            "public": link.public,
        }
    named = zip(parts[-1].leaves, network.answer, strict=True)
    return Serving(
        name=how.name, of=of, inputs=network.inputs,
        outputs=tuple(Tensor(name, a.dtype.name, a.shape[1:]) for name, a in named),
        address=onward["address"], public=onward["public"], parts=tuple(states),
    )  # fmt: skip


def _told(
    network: Network, row: Row, plan: Plan, states: Sequence[Any]
) -> tuple[dict[str, Any], ...]:
    """Of each part: where it runs, from and to which layer, what it takes, and what goes on from it."""
    names = ["the input", *(cut.layer for cut in network.cuts), "the output"]
    return tuple(
        {
            **state, "device": row.seats[share.seat].name, "from": names[share.start], "to": names[share.end],
            "seconds": row.work(share.seat, share.start, share.end), "sends": row.crossing[share.end],
        }
        for share, state in zip(plan.shares, states, strict=True)
    )  # fmt: skip


def stop(serving: Serving, runtime: Runtime) -> None:
    """Serve it no longer. Raises NetsukeError where a device does not answer."""
    for told in serving.parts:
        with Remote(told["device"], runtime) as link:
            link.stop(told["part"])
    serving.forget()
