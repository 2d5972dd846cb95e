"""How a training differs from the plain one: the hooks of the loop, which is a template."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.fx import GraphModule

from netsuke.nets.sparse.zeros import Zeros

View = Callable[[GraphModule], object]
"""Puts a network into one of several states it can be in."""
Hook = Callable[[GraphModule, float], object]
"""Is given the network and the share of the training that is done."""


def _as_it_is(network: GraphModule, *_: Any) -> None:
    pass


def _always(progress: float) -> bool:
    return True


@dataclass(frozen=True)
class Way:
    """How a training differs from the plain one.

    before: called before each step. graded: called in each step when the gradients are there and no
    weight has moved. views: the states of the network that are judged, its first one last. each:
    number of the step → the views that it trains together, by the mean of their losses. counts:
    whether the network of an epoch that ends at this share may be the one that is kept; the last
    always may. zeros: what stays zero; None takes the zeros that the network comes with. inplace: the
    views of a step that come after its first imitate what that one gives, and no other teacher (Yu and
    Huang, 2019, "Universally slimmable networks").
    """

    before: Hook = _as_it_is
    views: tuple[View, ...] = (_as_it_is,)
    each: Callable[[int], tuple[View, ...]] = lambda _: (_as_it_is,)
    graded: Hook = _as_it_is
    counts: Callable[[float], bool] = _always
    zeros: Zeros | None = None
    inplace: bool = False
