"""One walk over a network's calls, giving labels to every tensor; what all rules share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

from netsuke.nets.calls import Call
from netsuke.nets.channels.labels import Axes, Book, fixed, fixed_axes
from netsuke.nets.channels.movement import Movement
from netsuke.nets.graph import is_training

SplitKey = tuple[int, ...]


@dataclass
class Labelling:
    """The state of one walk over the calls: labels by node, and how splits were decided.

    choices: which part of a split keeps labels, by the sizes it splits into (0 is the outermost,
    which is what is kept where nothing is said, and the innermost where heads get narrower).
    splits: every split met. moves: movements observed so far, shared between walks. statistics: the
    reductions of normalizations written out. narrow: whether heads get narrower, not fewer.
    """

    choices: Mapping[SplitKey, int]
    moves: dict[Node, list[Movement]]
    statistics: frozenset[Node] = frozenset()
    narrow: bool = False
    book: Book = field(default_factory=Book)
    axes: dict[Node, Any] = field(default_factory=dict)
    static: set[Node] = field(default_factory=set)
    splits: dict[SplitKey, int] = field(default_factory=dict)

    def of(self, call: Call, name: str) -> Any:
        """Labels of an argument: Axes, a list of them, or None for what is no tensor."""
        return map_arg(call.raw.get(name), lambda n: self.axes[n])

    def tensors(self, call: Call) -> list[Axes]:
        """Labels of every tensor argument, in order."""
        found = (self.axes[n] for n in call.node.all_input_nodes)
        return [axes for axes in found if isinstance(axes, tuple)]

    def lock(self, call: Call, reason: str) -> None:
        """Lock every dimension of everything the call was given."""
        for node in call.node.all_input_nodes:
            for axes in flat(self.axes[node]):
                for labels in axes:
                    self.book.lock(labels, reason)


Rule = Callable[[Labelling, Call], Any]


def unknown(walk: Labelling, call: Call) -> Any:
    """What we do not know may mix anything with anything."""
    reason = f"unknown operation {call.where}"
    walk.lock(call, reason)
    for node in call.node.all_input_nodes:
        if node.op == "get_attr" and not is_training(node):
            walk.book.protected.setdefault(layer_of(str(node.target)), reason)
    return fixed_like(call.result)


def layer_of(tensor: str) -> str:
    """A parameter's layer: its name, without the last part."""
    return tensor.rpartition(".")[0] or tensor


def broadcast(walk: Labelling, inputs: list[Axes], shape: tuple[int, ...], where: str) -> Axes:
    """Labels where tensors meet: index i of one with index i of the others, from the last dimension."""
    out = []
    for dim in range(-len(shape), 0):
        meeting = [a[dim] for a in inputs if len(a) >= -dim and len(a[dim]) == shape[dim] > 1]
        labels = meeting[0] if meeting else fixed(shape[dim])
        for other in meeting[1:]:
            labels = walk.book.join(labels, other, where)
        out.append(labels)
    return tuple(out)


def flat(axes: Any) -> list[Axes]:
    """A tensor's labels, or those of several, as a list."""
    if axes is None:
        return []
    return [axes] if isinstance(axes, tuple) else [a for a in axes if a is not None]


def fixed_like(result: Any) -> Any:
    """Nothing of what came out may leave."""
    if isinstance(result, Tensor):
        return fixed_axes(result)
    return [fixed_like(r) for r in result] if isinstance(result, list | tuple) else None
