"""How many bytes the stored form takes."""

from typing import ClassVar

from netsuke.core.data import Stream
from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.probe import Probe, Subject
from netsuke.packer import packed

NOTE = "bytes of model.nsk, which expands to the runnable file, to the byte"


class Stored(Probe):
    """The bytes of the artifact's stored form, by packing it: "stored".

    Nothing where the file cannot be packed: it is of a runtime whose files are not ONNX, or its
    weights lie in another file. An instance remembers what it packed: an original is measured again
    and again.
    """

    name: ClassVar[str] = "stored"

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}

    def measure(
        self, subject: Subject, baseline: Subject, stream: Stream | None, goal: Goal
    ) -> tuple[Evidence, ...]:
        artifact = subject.artifact
        if artifact.sha256 not in self._sizes:
            try:
                self._sizes[artifact.sha256] = packed(artifact.path).size
            except NetsukeError:
                return ()
        size = float(self._sizes[artifact.sha256])
        return (
            Evidence(
                what="stored", value=size, unit="B", source="measured", device="local", note=NOTE
            ),
        )
