"""What a fit has decided so far, on disk, so that a kill costs no accepted step."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from netsuke.core.evidence import Evidence
from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.recipe import Recipe
from netsuke.gate import Trial
from netsuke.store import Progress
from netsuke.workbench import State, Workbench


@dataclass
class Journal:
    """The trials of a fit in order, the place ``(proposal, pass)`` it has come to, and by proposal
    which trial was kept last.

    Only whole passes count: a pass cut off in the middle of its remedies starts over.
    """

    progress: Progress
    fingerprint: str
    trials: list[dict[str, Any]] = field(default_factory=list)
    place: tuple[int, int] = (0, 0)
    kept: dict[int, int] = field(default_factory=dict)
    pending: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def resume(cls, progress: Progress, fingerprint: str) -> "Journal":
        """The journal as the progress file left it; a new one where there is none."""
        journal = cls(progress, fingerprint)
        state = progress.read(fingerprint)
        if state is not None:
            journal.trials = state["trials"]
            journal.place = (state["place"][0], state["place"][1])
            journal.kept = {int(k): v for k, v in state["kept"].items()}
        return journal

    def passed(self, proposal: int, index: int) -> bool:
        """True where this pass of this proposal is decided already."""
        return (proposal, index) < self.place

    def add(self, proposal: int, trial: Trial) -> None:
        """Note a trial; it counts once its pass is decided."""
        self.pending.append({**trial.to_dict(), "proposal": proposal})

    def decide(self, proposal: int, index: int, kept: State | None) -> None:
        """The pass is decided. ``kept`` is the state it led to, None where nothing was kept."""
        from netsuke.nets.save import save

        self.trials += self.pending
        self.pending = []
        if kept is not None:
            self.kept[proposal] = len(self.trials) - 1
            save(kept.model, self._folder(self.kept[proposal]))
        self.place = (proposal, index + 1)
        state = {"trials": self.trials, "place": list(self.place), "kept": self.kept}
        self.progress.write(self.fingerprint, state)

    def state(self, proposal: int, bench: Workbench, original: State) -> State:
        """The last accepted state of a proposal, exported anew; the original where there is none."""
        from netsuke.nets.save import load

        if proposal not in self.kept:
            return original
        evidence = self.trials[self.kept[proposal]]["evidence"]
        state = bench.state(load(self._folder(self.kept[proposal])))
        return replace(state, evidence=tuple(Evidence(**e) for e in evidence))

    def source(self, proposal: int, original: State) -> Model:
        """The last model still in float on the way of a proposal: what was quantized, if anything."""
        from netsuke.nets.quantizers.place import is_quantized
        from netsuke.nets.save import load

        found = original.model
        for number, trial in enumerate(self.trials):
            if trial["proposal"] == proposal and trial["outcome"] == "kept":
                model = load(self._folder(number))
                found = found if is_quantized(model.network) else model
        return found

    def _folder(self, kept: int) -> Path:
        return self.progress.folder / "steps" / str(kept)


def fingerprint(model: Model, goal: Goal, recipe: Recipe | None) -> str:
    """What makes two fits the same: weights, goal, recipe, seed, and the data's first batch."""
    digest = hashlib.sha256()
    for key, tensor in model.network.state_dict().items():
        digest.update(key.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    first = next(goal.data.validate.batches(size=32))
    for array in first.inputs:
        digest.update(array.tobytes())
    wanted = {
        "budget": asdict(goal.budget),
        "device": goal.device.name,
        "recipe": None if recipe is None else recipe.to_toml(),
        "seed": goal.seed,
        "samples": len(goal.data.validate),
    }
    digest.update(json.dumps(wanted, sort_keys=True).encode())
    return digest.hexdigest()
