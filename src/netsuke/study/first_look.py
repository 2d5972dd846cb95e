"""A first look at a trial before it trains: whether it can meet its limits at all, and what a proxy makes of it."""

from typing import TYPE_CHECKING

from netsuke.core.recipe import Recipe
from netsuke.study.epochs import with_epochs
from netsuke.study.laboratory import Laboratory
from netsuke.study.marks import Mark
from netsuke.study.prefixes import RefusedError

if TYPE_CHECKING:
    from netsuke.nets.proxies.proxy import Proxy


def look(recipe: Recipe, laboratory: Laboratory, proxy: "Proxy | None") -> Mark | None:
    """What it costs untrained, beside the proxy's score; how far it is beyond the limits on costs, which no training
    mends. None where nothing trains, or nothing is asked."""
    bare = untrained(recipe)
    if bare is None or not (proxy or laboratory.cost_limits):
        return None
    try:
        found = laboratory.costs(bare)
    except RefusedError:  # some passes have nothing to do without their training
        return None
    score = (-laboratory.score(found.state, proxy),) if proxy else ()
    return Mark((*found.values.values(), *score), found.over)


def untrained(recipe: Recipe) -> Recipe | None:
    """The recipe without its trainings; None where there is none, or a pass is nothing without."""
    return with_epochs(recipe, lambda _: 0)


def is_drawn(recipe: Recipe) -> bool:
    """Whether it trains a network whose weights nobody trained before."""
    settings = [one.settings() for one in recipe]
    return any(s.get("student") == "own" or s.get("start") == "fresh" for s in settings)
