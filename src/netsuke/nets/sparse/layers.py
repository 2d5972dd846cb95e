"""Which weights of a network can be pruned one by one, and why others are not."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from netsuke.core.errors import NetsukeError
from netsuke.nets import graph
from netsuke.nets.quantizers.roles import READS_WEIGHT, WEIGHTED, op

TRANSPOSED = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})


@dataclass(frozen=True)
class Layer:
    """One weight. weight: the parameter's name. name: of the user's module, for messages. shape: of the
    weight. nodes: the operations that read it; more than one where it is shared. inputs: the dimension
    that sums run along, in which N:M patterns lie."""

    weight: str
    name: str
    shape: tuple[int, ...]
    nodes: tuple[Node, ...] = ()
    inputs: int = 1

    @property
    def size(self) -> int:
        count = 1
        for n in self.shape:
            count *= n
        return count


def layers(network: GraphModule) -> tuple[Layer, ...]:
    """Weights of convolutions and linear layers that are plain parameters, in the graph's order."""
    found: dict[str, list[Node]] = {}
    for node in network.graph.nodes:
        given = node.args[1] if op(node) in WEIGHTED | TRANSPOSED else None
        if isinstance(given, Node) and isinstance(graph.tensor_of(network, given), nn.Parameter):
            found.setdefault(first_name(network, given), []).append(node)
    return tuple(_layer(network, name, tuple(nodes)) for name, nodes in found.items())


def _layer(network: GraphModule, weight: str, nodes: tuple[Node, ...]) -> Layer:
    name = graph.module_name(nodes[0]) or weight
    inputs = 0 if op(nodes[0]) in TRANSPOSED else 1
    return Layer(weight, name, tuple(value(network, weight).shape), nodes, inputs)


def others(network: GraphModule) -> tuple[tuple[str, str], ...]:
    """(parameter of two dimensions or more, why it is no layer's weight) for the rest."""
    mine = {layer.weight for layer in layers(network)}
    tables = {
        first_name(network, node.args[0])
        for node in network.graph.nodes
        if op(node) in READS_WEIGHT and op(node) not in WEIGHTED and node.args[0].op == "get_attr"
    }
    return tuple(
        (name, "a table of embeddings" if name in tables else "no convolution's or linear layer's")
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1 and name not in mine
    )


def value(network: GraphModule, name: str) -> Tensor:
    """The weight of that name, detached."""
    found = graph.tensor_of(network, name)
    assert found is not None
    return found.detach()


def first_name(network: GraphModule, node: Node) -> str:
    """A parameter's name; where several are tied, the one ``named_parameters`` gives."""
    tensor = graph.tensor_of(network, node)
    assert tensor is not None
    return graph.aliases(network, tensor)[0]


def check_finite(node: Node, read: Tensor) -> None:
    """Raise NetsukeError where what a layer reads of the calibration data is not finite."""
    if not bool(torch.isfinite(read).all()):
        raise NetsukeError(
            f"calibrate: NaN or infinite values reach {graph.where(node)}; mend the samples"
        )
