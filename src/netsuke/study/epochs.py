"""Recipes with other lengths of their trainings."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from netsuke.core.errors import NetsukeError
from netsuke.core.passes import Pass
from netsuke.core.recipe import Recipe


def with_epochs(recipe: Recipe, wanted: Callable[[int], int | None]) -> Recipe | None:
    """The recipe with as many epochs of each training as ``wanted`` makes of its own; None where no training gets
    another length, ``wanted`` gives None, or a pass does not take so few."""
    passes = [_with_epochs(one, wanted) for one in recipe]
    if None in passes or tuple(passes) == tuple(recipe):
        return None
    return Recipe(*(one for one in passes if one is not None))


def _with_epochs(one: Pass, wanted: Callable[[int], int | None]) -> Pass | None:
    epochs = one.settings().get("epochs", 0)
    if not epochs:
        return one
    other: dict[str, Any] = {"epochs": wanted(epochs)}
    try:
        return None if other["epochs"] is None else replace(one, **other)
    except NetsukeError:
        return None
