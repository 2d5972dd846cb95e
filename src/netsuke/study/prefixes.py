"""What passes made, on disk, by the recipe that led there: the same beginning is never computed twice."""

import hashlib
from pathlib import Path

from netsuke.core.goal import Goal
from netsuke.core.model import Model
from netsuke.core.passes import Pass
from netsuke.core.recipe import Recipe


class Prefixes:
    """The models of one study, in its folder. mark: of the model, the data and the goal."""

    def __init__(self, folder: Path, mark: str) -> None:
        self._folder, self.mark = folder, mark

    def place(self, recipe: Recipe) -> Path:
        """Where the model after this recipe is, or would be."""
        text = f"{self.mark}\n{recipe.to_toml()}"
        return self._folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def follow(self, model: Model, recipe: Recipe, goal: Goal) -> Model:
        """The model after each pass in turn; what an earlier trial did is read.

        Raises RefusedError where a pass says that it cannot help.
        """
        from netsuke.nets.save import load, save

        done = Recipe()
        for wanted in recipe:
            done = Recipe(*done, wanted)
            place = self.place(done)
            if (place / "network.json").is_file():
                model = load(place)
                continue
            model = _applied(wanted, model, goal)
            save(model, place)
        return model


class RefusedError(Exception):
    """A pass cannot help here; the message says which and why."""


def _applied(wanted: Pass, model: Model, goal: Goal) -> Model:
    reason = wanted.refuse(model, goal)
    if reason is not None:
        raise RefusedError(f"{wanted.name}: {reason}")
    return wanted.apply(model, goal)
