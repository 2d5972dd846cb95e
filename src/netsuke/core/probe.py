"""A probe: Artifact → Evidence. It is handed a running model, so it knows no runtime."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from netsuke.core.artifact import Artifact
from netsuke.core.data import Stream
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.runtime import Session


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a probe may touch of one artifact.

    open: loads it in its runtime with that many threads. simulate: the framework's own outputs for a
    tuple of input arrays, None where only the file is at hand.
    """

    artifact: Artifact
    open: Callable[[int], Session]
    simulate: Callable[..., Any] | None = None


class Probe(ABC):
    """Finds out one thing about an artifact, beside the baseline it is compared with."""

    name: ClassVar[str]
    there: ClassVar[bool] = False
    """Whether it looks at the machine, not at outputs: then it must run on the device, and is a dataclass whose
    fields are its settings."""

    @abstractmethod
    def measure(
        self, subject: Subject, baseline: Subject, stream: Stream | None, goal: Goal
    ) -> tuple[Evidence, ...]:
        """Evidence on ``subject``. ``baseline`` is the original (it may be the subject itself);
        ``stream`` the labelled samples to judge on, None where there are none. Nothing found is an
        empty tuple, never a guess."""
