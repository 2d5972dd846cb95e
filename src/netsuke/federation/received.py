"""What came back from a round: looked at before it counts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from netsuke.core.errors import NetsukeError
from netsuke.federation.adaptive import Worth
from netsuke.federation.letter import UPDATE, arrays_in, figure_in, report
from netsuke.federation.update import State, applied
from netsuke.nets.compressors.compressor import Compressor

ABSURD = 20.0
"""An update that is as many times as long as the median one is no training."""
VARIANCE = "running_var"
"""How names of BatchNorm's variances end. They are not compressed, so that no honest one is below zero."""
ROUNDED = 1e-6
"""Below zero a variance may be by as much: it is sent as a difference."""
FEW = 3
"""Updates of which a median says something."""


@dataclass(frozen=True)
class Trained:
    """A client's network after a round. length: of its change. bytes: it took to tell."""

    message: Message
    name: str
    state: dict[str, Tensor]
    length: float
    bytes: int
    samples: int
    loss: float
    seconds: float

    def dense(self) -> Message:
        """The reply, as a strategy of Flower's expects it."""
        figures = {"num-examples": self.samples, "loss": self.loss}
        return Message(report(self.state, figures), reply_to=self.message)


@dataclass(frozen=True)
class Weighed:
    """What the units of each group are worth to a client. samples: that it has."""

    name: str
    worth: Worth
    samples: int

    @property
    def length(self) -> float:
        """Worths are squares."""
        return math.sqrt(sum(float(each.sum()) for each in self.worth))


Heard = TypeVar("Heard", Trained, Weighed)


def weighed(reply: Message, name: str, samples: int, units: Sequence[int]) -> Weighed:
    """units: of each group. Raises NetsukeError that says what is wrong with it."""
    if reply.has_error():
        raise NetsukeError(str(reply.error.reason))
    found = {name: t.double().numpy() for name, t in arrays_in(reply).items()}
    if {n: each.shape for n, each in found.items()} != {str(n): (c,) for n, c in enumerate(units)}:
        raise NetsukeError("its worths are of another network")
    worth = tuple(found[str(number)] for number in range(len(units)))
    if not all(np.isfinite(each).all() and (each >= 0).all() for each in worth):
        raise NetsukeError("its worths are no squares")
    return Weighed(name, worth, samples)


def opened(reply: Message, name: str, before: State, by: Compressor, samples: int) -> Trained:
    """samples: as it said when it joined. Raises NetsukeError that says what is wrong with it."""
    if reply.has_error():
        raise NetsukeError(str(reply.error.reason))
    arrays = arrays_in(reply)
    if set(arrays) != {UPDATE}:
        raise NetsukeError("its message is no update")
    count, loss, seconds = (figure_in(reply, name) for name in ("num-examples", "loss", "seconds"))
    if not 0 < count <= samples:
        raise NetsukeError(f"it trained on {count:,.0f} samples, and said it had {samples:,}")
    state = applied(before, arrays[UPDATE], by)
    if not all(bool(t.isfinite().all()) for t in state.values()):
        raise NetsukeError("its update has values that are no numbers")
    if any(bool((t < -ROUNDED).any()) for name, t in state.items() if name.endswith(VARIANCE)):
        raise NetsukeError("its update has variances below zero")
    length = _length(before, state)
    return Trained(reply, name, state, length, arrays[UPDATE].numel(), int(count), loss, seconds)


def sensible(found: Sequence[Heard]) -> tuple[list[Heard], dict[str, str]]:
    """(Those of a plausible length, why not by name of the others.)"""
    if len(found) < FEW:
        return list(found), {}
    median = float(torch.tensor([one.length for one in found]).median())
    limit = ABSURD * median if median else math.inf
    said = {
        one.name: f"what it sent is {one.length / median:,.0f} times as long as the median one"
        for one in found
        if one.length > limit
    }
    return [one for one in found if one.name not in said], said


def _length(before: State, after: Mapping[str, Tensor]) -> float:
    parts = [(after[name] - before[name]).float().norm() for name in after]
    return float(torch.stack(parts).norm())
