"""A network that also gives what its layers hand on, to compare the simulation layer by layer."""

from collections import Counter

from torch.fx import GraphModule, Node

from netsuke.nets import graph
from netsuke.nets.costs import FUSED
from netsuke.nets.quantizers.quantizer import quantizers
from netsuke.nets.quantizers.roles import PRODUCTS, WEIGHTED, op


def tapped(network: GraphModule) -> tuple[GraphModule, tuple[str, ...]]:
    """A copy with further outputs after its own, and the user's names of the layers they are of.

    Of a network with quantized activations every one of those, where the runtime's fused operations
    end: a further reader there changes no kernel. Of any other the outputs of convolutions, linear
    layers and matrix products.
    """
    copy = graph.clone(network)
    quantized = [q.node for q in quantizers(copy) if not q.constant]
    nodes = list(copy.graph.nodes)
    taps = quantized or [node for node in nodes if op(node) in WEIGHTED | PRODUCTS]
    given = nodes[-1].args[0]
    own = list(given) if isinstance(given, list | tuple) else [given]
    taps = [node for node in taps if node not in own]
    nodes[-1].args = ((*own, *taps),)
    return graph.rebuilt(copy), _names([_layer(node) for node in taps])


def _layer(node: Node) -> Node:
    """The operation whose result this is, before what a runtime computes within it."""
    while op(node) in FUSED or op(node).startswith("netsuke."):
        node = node.all_input_nodes[0]
    return node


def _names(layers: list[Node]) -> tuple[str, ...]:
    """The user's modules, no name twice."""
    taken: Counter[str] = Counter()
    names = []
    for node in layers:
        name = graph.module_name(node) or node.name
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"{name}_{taken[name]}")
    return tuple(names)
