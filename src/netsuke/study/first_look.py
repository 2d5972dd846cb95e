"""A first look at a trial before it trains: whether it can meet its limits at all, and what a proxy makes of it."""

from dataclasses import replace
from typing import Any

from netsuke.core.errors import NetsukeError
from netsuke.core.passes import Pass
from netsuke.core.recipe import Recipe
from netsuke.study.laboratory import Laboratory
from netsuke.study.marks import Mark
from netsuke.study.prefixes import RefusedError


def look(recipe: Recipe, laboratory: Laboratory) -> Mark | None:
    """What it costs untrained, beside the proxy's score of a network that was drawn anew; how far it is beyond the
    limits on costs, which no training mends. None where nothing trains, or nothing is asked."""
    drawn = laboratory.proxy is not None and is_drawn(recipe)
    bare = untrained(recipe)
    if bare is None or not (drawn or laboratory.cost_limits):
        return None
    try:
        found = laboratory.costs(bare)
    except RefusedError:  # some passes have nothing to do without their training
        return None
    score = (-laboratory.score(found.state),) if drawn else ()
    return Mark((*found.values.values(), *score), found.over)


def untrained(recipe: Recipe) -> Recipe | None:
    """The recipe without its trainings; None where there is none, or a pass is nothing without."""
    passes = [_untrained(one) for one in recipe]
    if None in passes or tuple(passes) == tuple(recipe):
        return None
    return Recipe(*(one for one in passes if one is not None))


def is_drawn(recipe: Recipe) -> bool:
    """Whether it trains a network whose weights nobody trained before."""
    settings = [one.settings() for one in recipe]
    return any(s.get("student") == "own" or s.get("start") == "fresh" for s in settings)


def _untrained(one: Pass) -> Pass | None:
    if not one.settings().get("epochs", 0):
        return one
    none: dict[str, Any] = {"epochs": 0}
    try:
        return replace(one, **none)
    except NetsukeError:
        return None
