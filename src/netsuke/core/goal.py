"""What is wanted: a task, a device and a budget, and what the walk lends to a pass."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from netsuke.core.budget import Budget
from netsuke.core.device import Device
from netsuke.core.layer import Layer
from netsuke.core.model import Model
from netsuke.core.task import Splits
from netsuke.core.team import ALONE, Team

T = TypeVar("T")
Clock = Callable[[Model], float]
Kernels = Callable[[Layer], float | None]
Track = Callable[[Iterable[T], str], Iterator[T]]


def silent(items: Iterable[T], label: str) -> Iterator[T]:
    """The progress reporter that reports nothing."""
    yield from items


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Task + device + budget.

    seed: of everything random. clock: seconds of one call of a model on the device, batch 1, one
    thread; measured where the device is this machine, else estimated. None where nothing can be
    timed. kernels: seconds of one of its layers, from a table of single kernels taken on the device;
    None, or None for a layer, where it has no such. team: who walks along. track: wraps an iterable to show progress, ``for x in goal.track(xs, "calibrating")``.
    """

    data: Splits
    device: Device
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    clock: Clock | None = field(default=None, compare=False)
    kernels: Kernels | None = field(default=None, compare=False)
    team: Team = field(default=ALONE, compare=False)
    track: Callable[[Iterable[T], str], Iterator[T]] = field(default=silent, compare=False)
