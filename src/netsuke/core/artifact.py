"""What leaves the walk: an exported file and what is known about it."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from netsuke.core.errors import NetsukeError
from netsuke.core.layer import Layer


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An exported model.

    path: the file a runtime opens. runtime: the name of the runtime it was made for. sha256 of the
    file. inputs: (name, dtype, shape without the batch). layers: what each layer costs, with its
    true bits. findings: what a reader must know of the export, such as operations meant for INT8
    that stayed float. alone: whether a sample's output depends on what else is in its batch (ranges
    found at each call are of the whole batch), so that each is to be judged alone.
    """

    path: Path
    runtime: str
    sha256: str
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    layers: tuple[Layer, ...] = ()
    findings: tuple[str, ...] = ()
    alone: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "path": self.path.name}

    @staticmethod
    def from_dict(data: Mapping[str, Any], folder: Path) -> "Artifact":
        return Artifact(
            path=folder / data["path"],
            runtime=data["runtime"],
            sha256=data["sha256"],
            inputs=tuple((n, d, tuple(s)) for n, d, s in data["inputs"]),
            layers=tuple(Layer.from_dict(layer) for layer in data["layers"]),
            findings=tuple(data["findings"]),
            alone=bool(data.get("alone", False)),
        )


def sha256(path: Path) -> str:
    """The file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_whole(artifact: Artifact) -> None:
    """Raise NetsukeError where the file is not the one that the artifact tells of."""
    if not artifact.path.exists() or sha256(artifact.path) != artifact.sha256:
        raise NetsukeError(f"{artifact.path.name}: is not what it was; ship it again")


def widths_beside(path: Path) -> Path:
    """Where a nested model's other widths are kept: ``model.widths.npz`` for ``model.onnx``."""
    return path.with_suffix(".widths.npz")
