"""A runtime that runs nothing: for tests of everything around a runtime."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from netsuke.core.artifact import Artifact, sha256
from netsuke.core.data import Array
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.files import write_json
from netsuke.core.model import Model
from netsuke.core.runtime import Runtime, Session


class NullRuntime(Runtime):
    """Writes what a model's layers cost as JSON; its sessions answer zeros of the right shape."""

    name: ClassVar[str] = "null"

    def export(self, model: Model, device: Device, path: Path) -> Artifact:
        """Write the model's layers and the shapes of its outputs at ``path``."""
        from netsuke.nets.costs import layers
        from netsuke.nets.graph import values

        found = layers(model)
        ends = [
            n
            for node in model.network.graph.nodes
            if node.op == "output"
            for n in node.all_input_nodes
        ]
        held = values(model.network, model.example)
        outputs = [list(held[n.name].shape[1:]) for n in ends]
        write_json(path, {"layers": [layer.to_dict() for layer in found], "outputs": outputs})
        inputs = tuple(
            (f"input_{i}", str(x.dtype).removeprefix("torch."), tuple(x.shape[1:]))
            for i, x in enumerate(model.example)
        )
        return Artifact(
            path=path, runtime=self.name, sha256=sha256(path), inputs=inputs, layers=found
        )

    def open(self, artifact: Artifact, threads: int = 1) -> Session:
        """Read the shapes back. Raises NetsukeError naming a file that is missing or damaged."""
        try:
            shapes = json.loads(artifact.path.read_text(encoding="utf8"))["outputs"]
        except FileNotFoundError as error:
            raise NetsukeError(f"{artifact.path}: there is no such file") from error
        except (ValueError, KeyError, TypeError) as error:
            raise NetsukeError(f"{artifact.path}: is damaged: {error}".splitlines()[0]) from error
        return NullSession(tuple(tuple(shape) for shape in shapes))


@dataclass(frozen=True)
class NullSession:
    """Answers zeros. shapes: of the outputs, without the batch."""

    shapes: tuple[tuple[int, ...], ...]

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """Zeros, as many samples as there are in the first input."""
        return tuple(np.zeros((len(inputs[0]), *shape), np.float32) for shape in self.shapes)
