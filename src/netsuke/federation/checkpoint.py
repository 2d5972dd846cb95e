"""A federation on disk, so that a killed server goes on after its last round."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside, write_json, write_text
from netsuke.report.federated import page

FORMAT = 1
FILE, PAGE, STATE = "federation.json", "federation.html", "federation.safetensors"


@dataclass
class Checkpoint:
    """shape: the units that groups of channels keep now, where not all. folder: of the federation. mark: of what it trains and how. about: that in words, for readers. rounds: what came of each so far, as JSON can hold it,
    with the score on validation beside it. first: the score before any."""

    folder: Path
    mark: str
    about: Mapping[str, Any]
    first: float = 0.0
    rounds: list[dict[str, Any]] = field(default_factory=list)
    shape: Mapping[int, Sequence[int]] = field(default_factory=dict)

    def keep(
        self, state: Mapping[str, Tensor], best: Mapping[str, Tensor], moments: Mapping[str, Tensor]
    ) -> None:
        """After a round. The state is written last: where the process dies before, the round is played again. best: of
        all rounds so far. moments: of the server's strategy."""
        write_json(self.folder / FILE, self.record)
        every = {"state.": state, "best.": best, "moments.": moments}
        tensors = {
            f"{k}{n}": t.contiguous() for k, named in every.items() for n, t in named.items()
        }
        with beside(self.folder / STATE) as draft:
            shape = json.dumps({str(g): list(units) for g, units in self.shape.items()})
            about = {"rounds": str(len(self.rounds)), "mark": self.mark, "shape": shape}
            save_file(tensors, draft, about)

    def draw(self) -> None:
        """Its page, as far as it is."""
        write_text(self.folder / PAGE, page(self.record, self.folder.name))

    @property
    def record(self) -> dict[str, Any]:
        """As ``federation.json`` holds it."""
        about = {"format": FORMAT, "mark": self.mark, **self.about}
        return {**about, "first": self.first, "rounds": self.rounds}

    def states(self) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """What was kept last."""
        with safe_open(self.folder / STATE, "pt") as file:
            every = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _under("state.", every), _under("best.", every), _under("moments.", every)


def resumed(folder: Path, mark: str, about: Mapping[str, Any]) -> Checkpoint | None:
    """What an earlier process left; None where it left nothing.

    Raises NetsukeError where it is of another federation, or cannot be read.
    """
    path = folder / FILE
    if not (folder / STATE).exists():
        return None
    try:
        with safe_open(folder / STATE, "pt") as file:
            kept = file.metadata()
        data = json.loads(path.read_text(encoding="utf8"))
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise NetsukeError(f"{folder}: what is left of a federation cannot be read ({error}); give another --out") from error  # fmt: skip
    if kept.get("mark") != mark:
        raise NetsukeError(
            f"{folder}: holds a federation of another model, data or settings; give another --out"
        )
    shape = {int(g): units for g, units in json.loads(kept["shape"]).items()}
    done = data["rounds"][: int(kept["rounds"])]
    return Checkpoint(folder, mark, about, data["first"], done, shape)


def _under(prefix: str, every: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in every.items() if n.startswith(prefix)}
