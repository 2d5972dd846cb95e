"""What the walk works with: a state of the model, and the place where states are made and measured."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from netsuke.core.artifact import Artifact
from netsuke.core.data import Stream
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.link import Link
from netsuke.core.model import Model
from netsuke.core.observer import Observer
from netsuke.core.passes import Pass
from netsuke.core.probe import Probe, Subject
from netsuke.core.registry import registered
from netsuke.core.runtime import Runtime, Session
from netsuke.links import reach
from netsuke.nets.together import agreed

# What a step is judged by; the rest is measured once, at the end.
STEP_PROBES = ("size", "stored", "quality", "latency", "estimate")
Opener = Callable[[Artifact, int], Session]


@dataclass(frozen=True)
class State:
    """Where the walk stands: a model, what it was exported to, what was found out about it."""

    model: Model
    artifact: Artifact
    evidence: tuple[Evidence, ...] = ()


class Shared:
    """What passes made that ask no device, kept for the next goal of the same fit."""

    def __init__(self) -> None:
        # The model that went in is kept too: its address is its name.
        self._made: dict[tuple[int, Pass], tuple[Model, Model]] = {}

    def apply(self, wanted: Pass, model: Model, goal: Goal) -> Model:
        """``wanted.apply(model, goal)``, done once for all devices where it can be."""
        if wanted.asks_device:
            return wanted.apply(model, goal)
        place = (id(model), wanted)
        if place not in self._made:
            self._made[place] = (model, wanted.apply(model, goal))
        return self._made[place][1]


class Workbench:
    """The goal, the runtime, the link to the device, a folder for drafts, who watches, and what other goals left
    to share. Raises NetsukeError where the device does not answer."""

    def __init__(
        self,
        goal: Goal,
        runtime: Runtime,
        drafts: Path,
        observer: Observer,
        shared: Shared | None = None,
    ) -> None:
        self.goal, self.runtime, self.observer = goal, runtime, observer
        self.link = reach(goal.device, runtime, observer)
        self.shared = shared or Shared()
        self._drafts, self._numbers = drafts, count()
        # One of each for the whole walk: a probe may remember what it found out of the original.
        self._probes = probes()

    def state(self, model: Model) -> State:
        """The model exported, nothing measured yet."""
        path = self._drafts / f"{next(self._numbers)}.onnx"
        return State(model, self.runtime.export(model, self.goal.device, path))

    def measure(
        self, state: State, beside: State, stream: Stream | None, names: tuple[str, ...] = ()
    ) -> tuple[Evidence, ...]:
        """Evidence on ``state``, compared with the state ``beside`` it; by the named probes, or all.

        Outputs are computed here, times and memory are the device's.
        """
        return self._found(state, beside, stream, names, self.runtime.open)

    def prove(
        self, state: State, beside: State, stream: Stream | None, names: tuple[str, ...] = ()
    ) -> tuple[Evidence, ...]:
        """The same with outputs that were computed on the device: what it finds is all of the device."""
        found = self._found(state, beside, stream, names, self.link.open)
        return of_device(found, self.link)

    def close(self) -> None:
        """Let go of the device."""
        self.link.close()

    def _found(
        self,
        state: State,
        beside: State,
        stream: Stream | None,
        names: tuple[str, ...],
        open_: Opener,
    ) -> tuple[Evidence, ...]:
        used = [self._probes[name] for name in names or self._probes]

        def found() -> list[dict[str, Any]]:
            pair = _subject(state, open_), _subject(beside, open_)
            return [e.to_dict() for e in probe(used, pair, stream, self.goal, self.link)]

        return tuple(Evidence(**e) for e in agreed(self.goal.team, found))


def _subject(state: State, open_: Opener) -> Subject:
    return Subject(
        artifact=state.artifact,
        open=partial(open_, state.artifact),
        simulate=simulator(state.model),
    )


def of_device(found: Iterable[Evidence], link: Link) -> tuple[Evidence, ...]:
    """What was measured on the device at the other end of a link, under its name."""
    return tuple(replace(e, device=link.name) if e.device == "local" else e for e in found)


def probes() -> dict[str, Probe]:
    """One of every registered probe, by name."""
    return {name: kind() for name, kind in registered(Probe, "netsuke.probes").items()}


def probe(
    used: Iterable[Probe],
    pair: tuple[Subject, Subject],
    stream: Stream | None,
    goal: Goal,
    link: Link,
) -> tuple[Evidence, ...]:
    """What these probes find out about the first of a pair beside the second, on the samples of ``stream``."""
    found: list[Evidence] = []
    for one in goal.track(used, "measuring"):
        found += link.probe(one, *pair, stream, goal)
    return tuple(found)


def simulator(model: Model) -> Callable[..., Any]:
    """The framework's own outputs for a tuple of arrays, as a tuple of arrays.

    In float64: rounding ties at float32 would otherwise show as disagreement with the runtime.
    """
    made: list[Any] = []

    def simulate(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        import torch

        from netsuke.nets.graph import clone

        if not made:
            made.append(clone(model.network).double().eval())
        tensors = [torch.from_numpy(a) for a in inputs]
        with torch.inference_mode():
            given = made[0](*(t.double() if t.is_floating_point() else t for t in tensors))
        outputs = given if isinstance(given, tuple | list) else (given,)
        return tuple(o.numpy() for o in outputs)

    return simulate
