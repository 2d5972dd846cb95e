"""This machine."""

from collections.abc import Sequence

from netsuke.core.artifact import Artifact
from netsuke.core.data import Stream
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.kernels import Kernel
from netsuke.core.link import Link
from netsuke.core.machine import read_rates
from netsuke.core.probe import Probe, Subject
from netsuke.core.runtime import Runtime, Session


class Local(Link):
    """Everything happens here."""

    name = "local"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def open(self, artifact: Artifact, threads: int = 1) -> Session:
        return self._runtime.open(artifact, threads)

    def probe(
        self, wanted: Probe, subject: Subject, baseline: Subject, stream: Stream | None, goal: Goal
    ) -> tuple[Evidence, ...]:
        return wanted.measure(subject, baseline, stream, goal)

    def turns(self, contents: Sequence[bytes]) -> list[list[float]]:
        return self._runtime.turns(contents)

    def kernel_seconds(self, kernel: Kernel) -> float | None:
        return self._runtime.kernel_seconds(kernel)

    def rates(self) -> dict[str, float]:
        return read_rates()

    def close(self) -> None:
        """Nothing was taken hold of."""
