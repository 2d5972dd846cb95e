"""Where a network looks: maps of the energy of its values, which a student is to share with its teacher.

Attention transfer (Zagoruyko and Komodakis, 2017, "Paying more attention to attention"). A map has a value for each
place of a picture, whatever the number of channels, so that a narrower student is compared as it is.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional as F

from netsuke.nets.data import Inputs
from netsuke.nets.graph import op, shapes

Maps = tuple[Tensor, ...]


def places(student: GraphModule, teacher: GraphModule, example: Inputs) -> tuple[str, ...]:
    """Nodes that both networks have: of each size of picture, the last. Empty where none is a picture."""
    there, last = shapes(teacher, example), dict[tuple[int, ...], str]()
    nodes = {node.name: node for node in student.graph.nodes}
    for name, shape in shapes(student, example).items():
        pictures = len(shape) == 4 and min(shape[2:]) > 1
        if pictures and shape[2:] == there.get(name, ())[2:] and _is_final(nodes[name]):
            last[shape[2:]] = name
    return tuple(last.values())


def attended(network: GraphModule, inputs: Inputs, names: Sequence[str]) -> tuple[object, Maps]:
    """What the network gives, and the maps at these nodes: (batch, places), each of length 1."""
    if not names:
        return network(*inputs), ()
    run = _Attended(network, frozenset(names))
    return run.run(*inputs), tuple(run.maps)


def apart(mine: Maps, theirs: Maps) -> Tensor:
    """Mean squared difference of the maps, summed up over them."""
    return torch.stack([F.mse_loss(m, t) for m, t in zip(mine, theirs, strict=True)]).sum()


class _Attended(Interpreter):
    def __init__(self, network: GraphModule, names: frozenset[str]) -> None:
        super().__init__(network)
        self._names = names
        self.maps: list[Tensor] = []

    def run_node(self, n: Node) -> object:
        value = super().run_node(n)
        if n.name in self._names:
            self.maps.append(F.normalize(value.float().square().mean(1).flatten(1)))
        return value


def _is_final(node: Node) -> bool:
    """A value of the network's own, no weight, and with no norm to come: a teacher's norms are folded into the
    layers before them."""
    return bool(op(node)) and not any(op(n) == "batch_norm" for n in (node, *node.users))
