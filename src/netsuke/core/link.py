"""A link: how a device is reached, for what must happen on the device itself."""

from abc import abstractmethod
from collections.abc import Sequence

from netsuke.core.artifact import Artifact
from netsuke.core.closing import Closing
from netsuke.core.data import Stream
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.kernels import Kernel
from netsuke.core.probe import Probe, Subject
from netsuke.core.runtime import Session


class Link(Closing):
    """One device, reached. name: of the device, "local" for this machine. Raises NetsukeError from every verb where
    it does not answer."""

    name: str

    @abstractmethod
    def open(self, artifact: Artifact, threads: int = 1) -> Session:
        """The artifact, loaded on the device and ready to be called from here."""

    @abstractmethod
    def probe(
        self, wanted: Probe, subject: Subject, baseline: Subject, stream: Stream | None, goal: Goal
    ) -> tuple[Evidence, ...]:
        """What a probe finds out; on the device where what it looks at is the device (``Probe.there``)."""

    @abstractmethod
    def turns(self, contents: Sequence[bytes]) -> list[list[float]]:
        """CPU seconds of a call of each of some files on the device, on made-up inputs: rounds in turns."""

    @abstractmethod
    def kernel_seconds(self, kernel: Kernel) -> float | None:
        """CPU seconds of one call of a single kernel on the device; None where that cannot be told."""

    @abstractmethod
    def rates(self) -> dict[str, float]:
        """What the device reads of itself (``core/machine.py``): facts of a Device by name, 0 of what cannot be told."""
