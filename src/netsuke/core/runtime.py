"""A runtime: exports a model into its form, and runs it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from netsuke.core.artifact import Artifact
from netsuke.core.cut import Cut, Part
from netsuke.core.data import Array
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.kernels import Kernel, KernelFiles, kernel_of_turns
from netsuke.core.model import Model
from netsuke.core.registry import named


class Session(Protocol):
    """An artifact opened and ready to run."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """One call: arrays in the artifact's order, samples first; outputs likewise."""
        ...


class Runtime(ABC):
    """Where artifacts run. Importing a runtime's module never imports torch."""

    name: ClassVar[str]

    @abstractmethod
    def export(self, model: Model, device: Device, path: Path) -> Artifact:
        """Write the model for ``device`` at ``path`` (written beside, then renamed)."""

    @abstractmethod
    def open(self, artifact: Artifact, threads: int = 1) -> Session:
        """Load an artifact. Raises NetsukeError naming the file when it is corrupt."""

    def adopt(self, path: Path) -> Artifact:
        """A file of this runtime's form that was exported elsewhere, as an artifact.

        Raises NetsukeError where it is corrupt, or where the runtime runs its own exports only.
        """
        raise NetsukeError(f"{path}: {self.name} runs only what it exported itself")

    def cuts(self, artifact: Artifact) -> tuple[Cut, ...]:
        """Where an artifact can be cut in parts that run apart, in order; nowhere where this runtime cuts none."""
        return ()

    def parts(self, artifact: Artifact, cuts: Sequence[Cut], folder: Path) -> tuple[Part, ...]:
        """The artifact cut at these places, front to back, written as files in a folder.

        Raises NetsukeError where nothing lies between two of them.
        """
        raise NetsukeError(f"{artifact.path}: {self.name} does not cut what it exports")

    def turns(self, contents: Sequence[bytes]) -> list[list[float]]:
        """CPU seconds of a call of each of some files of this runtime's form, measured here on one thread and
        made-up inputs: a list of each, for every one of some rounds in turns.

        Raises NetsukeError where the runtime cannot tell.
        """
        raise NetsukeError(f"{self.name}: does not time single files")

    def kernel_files(self, kernel: Kernel) -> KernelFiles | None:
        """Files that tell a kernel's seconds; None where this runtime makes none."""
        return None

    def kernel_seconds(self, kernel: Kernel) -> float | None:
        """CPU seconds of one call of a single kernel, measured here on one thread; None where this
        runtime cannot tell."""
        files = self.kernel_files(kernel)
        return None if files is None else kernel_of_turns(files, self.turns(files.contents))

    def kernel_file(self, kernel: Kernel) -> bytes | None:
        """A file of this runtime's form with next to nothing but this kernel; None where it makes none."""
        files = self.kernel_files(kernel)
        return None if files is None else files.contents[0]


def runtime_named(name: str) -> Runtime:
    """Raises NetsukeError listing near names."""
    return named(Runtime, "netsuke.runtimes", name)()  # type: ignore[type-abstract]
