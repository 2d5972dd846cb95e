"""A quantized network in parts: each layer with the quantizers of its weight, its bias and its output."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.nets import graph
from netsuke.nets.quantizers.quantizer import BIAS_LIMIT, QUANTIZE, Quantizer
from netsuke.nets.quantizers.roles import WEIGHTED, clips, op

ROUNDERS = ("netsuke.quantize", "netsuke.lookup", "netsuke.halve")


@dataclass(frozen=True)
class Part:
    """A layer, or a value that is quantized on its own (an input, a sum).

    chain: the operation, its clips and the quantizer behind it, as far as it has them."""

    chain: tuple[Node, ...]
    constants: tuple[Node, ...]

    @property
    def head(self) -> Node:
        return self.chain[0]

    @property
    def out(self) -> Node:
        return self.chain[-1]

    @property
    def name(self) -> str:
        """The user's module; for a value on its own, what made it."""
        node = self.head
        if rounds(node):
            node = node.all_input_nodes[0]
            while clips(node):
                node = node.all_input_nodes[0]
            if node.op == "placeholder":
                return f"input {node.name}"
            return ": ".join(filter(None, (graph.module_name(node), node.name)))
        return graph.module_name(node) or node.name

    @property
    def quantizers(self) -> frozenset[Node]:
        return frozenset({*self.constants, *(n for n in self.chain if rounds(n))})

    @property
    def weight(self) -> Quantizer | None:
        for node in self.constants:
            if node.target is QUANTIZE and Quantizer.of(node).limits[1] != BIAS_LIMIT:
                return Quantizer.of(node)
        return None

    @property
    def activation(self) -> Quantizer | None:
        return Quantizer.of(self.out) if self.out.target is QUANTIZE else None


def parts(network: GraphModule) -> tuple[Part, ...]:
    """The parts of a quantized network, in the order of the graph."""
    found: list[Part] = []
    taken: set[Node] = set()
    for node in network.graph.nodes:
        constants = tuple(n for n in node.all_input_nodes if rounds(n) and constant(n))
        if op(node) in WEIGHTED and constants:
            chain = _chain(node)
            taken |= {*chain}
            found.append(Part(chain, constants))
    order = {n: i for i, n in enumerate(network.graph.nodes)}
    alone = (n for n in order if rounds(n) and not constant(n) and n not in taken)
    found += [Part((n,), ()) for n in alone]
    return tuple(sorted(found, key=lambda p: order[p.out]))


def without(
    network: GraphModule, names: Iterable[str], floats: Mapping[str, Tensor]
) -> GraphModule:
    """A copy in which the parts of these names are left in float, weights and all."""
    other = graph.clone(network)
    wanted = set(names)
    for part in parts(other):
        if part.name not in wanted:
            continue
        for node in part.quantizers:
            source = node.all_input_nodes[0]
            if constant(node) and str(source.target) in floats:
                graph.set_tensor(other, str(source.target), floats[str(source.target)].clone())
            node.replace_all_uses_with(source)
    return graph.rebuilt(other)


def rounds(node: Node) -> bool:
    return graph.op(node) in ROUNDERS


def constant(node: Node) -> bool:
    return node.all_input_nodes[0].op == "get_attr"


def _chain(node: Node) -> tuple[Node, ...]:
    chain = [node]
    while True:
        users = list(chain[-1].users)
        after = [u for u in users if rounds(u)]
        if after:
            return (*chain, after[0])
        if len(users) != 1 or not clips(users[0]):
            return tuple(chain)
        chain.append(users[0])
