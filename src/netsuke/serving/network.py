"""What is spread over devices: a network with every place where it can be cut, timed on each of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netsuke.core.artifact import Artifact
from netsuke.core.cut import Cut, Tensor
from netsuke.core.data import Array, Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.feed import example
from netsuke.core.observer import Observer
from netsuke.core.partition import Objective, Route, Row, Seat
from netsuke.core.runtime import Runtime
from netsuke.links.book import check_name
from netsuke.links.remote import Remote
from netsuke.probes.memory import fresh

SOCKETS = 13e6
"""Resident bytes that a part takes for being called, beside what a process takes that only runs it (measured: 12 … 13 MB)."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a network is to be spread. objective: many answers a second, or each soon. memory: the most bytes its process
    may take on each device, None for any. routes: between each device and the next; None has them measured.
    offline: whether the first device also holds the whole network, and answers with it while the next one is gone.
    exits: how an answer may come early; None where none may."""

    name: str
    objective: Objective = "throughput"
    memory: tuple[int | None, ...] = ()
    routes: tuple[Route, ...] | None = None
    offline: bool = False
    exits: Exits | None = None

    def __post_init__(self) -> None:
        check_name(self.name)

    def limit(self, seat: int) -> int | None:
        return self.memory[seat] if seat < len(self.memory) else None


@dataclass(frozen=True)
class Exits:
    """When the first device answers by itself: where its own output layer, fitted on ``fit`` (no labels), is sure enough
    that at most ``lost`` of the answers on ``judge`` (labelled) become wrong."""

    fit: Stream
    judge: Stream
    lost: float


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
        """Resident bytes of a part of these segments: of what the whole takes, their share by their size."""
        sizes = [len(segment) for segment in self.segments]
        share = sum(sizes[start:end]) / sum(sizes)
        return (
            SOCKETS + self.process["idle"] + share * (self.process["peak"] - self.process["idle"])
        )


def segmented(artifact: Artifact, runtime: Runtime, tensors: float = float("inf")) -> Network:
    """The artifact with every place where it can be cut that at most so many tensors cross."""
    cuts = tuple(cut for cut in runtime.cuts(artifact) if len(cut.tensors) <= tensors)
    with tempfile.TemporaryDirectory() as folder:
        parts = runtime.parts(artifact, cuts, Path(folder))
        segments = tuple(part.artifact.path.read_bytes() for part in parts)
    answer = runtime.open(artifact).run(example(artifact))
    return Network(artifact, runtime, cuts, segments, answer, fresh(artifact))


def measured(network: Network, links: Sequence[Remote], how: Spread, watch: Observer) -> Row:
    """Every segment timed on every device, in seconds of its processor. Raises NetsukeError where ways are told of, but not
    as many as there are between the devices."""
    if how.routes is not None and len(how.routes) != len(links) - 1:
        raise NetsukeError(f"serve: {len(how.routes)} links between {len(links)} devices")
    seats = tuple(
        Seat(name=link.name, seconds=_seconds(network, link), memory=how.limit(number))
        for number, link in enumerate(watch.track(links, "timing segments"))
    )
    return Row(seats=seats, crossing=network.crossing, takes=network.takes)


def _seconds(network: Network, link: Remote) -> tuple[float, ...]:
    """Of each segment, what it takes to call a file left out: all of them take what the whole does."""
    rounds = link.turns([network.artifact.path.read_bytes(), *network.segments])
    whole, *each = np.median(np.array(rounds), axis=0)
    call = max(sum(each) - whole, 0.0) / max(len(each) - 1, 1)
    return tuple(float(max(seconds - call, 0.0)) for seconds in each)
