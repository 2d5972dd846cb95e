"""How many bytes the artifact takes."""

from typing import ClassVar

from netsuke.core.data import Stream
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.probe import Probe, Subject


class Size(Probe):
    """The true bytes of the artifact's file on disk: "size"."""

    name: ClassVar[str] = "size"

    def measure(
        self, subject: Subject, baseline: Subject, stream: Stream | None, goal: Goal
    ) -> tuple[Evidence, ...]:
        size = subject.artifact.path.stat().st_size
        return (
            Evidence(what="size", value=float(size), unit="B", source="measured", device="local"),
        )
