"""Where quantizers stand: one placement, for simulation, training and export.

Quantizers stand at the boundaries of what a runtime fuses, and nowhere else: behind a convolution
with its activation, behind an addition with its activation, behind pools, at the input. Values that
only move (slices, pads, views, concatenations, maximum pools) share one encoding, so that they move
as integers. What has no integer kernel, or would only be quantized to be dequantized again, stays
float, and ``left_float`` says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.nets import graph
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.quantizer import (
    BIAS_LIMIT,
    QUANTIZE,
    Encoding,
    Scheme,
    insert,
    insert_raw,
    quantizers,
    write,
)
from netsuke.nets.roles import FREE_FLOAT, WEIGHTED, clips, follows, moves, op, rounds

PRODUCTS = frozenset({
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear",
    "matmul", "bmm", "addmm", "baddbmm", "einsum", "lstm", "gru", "rnn_tanh", "rnn_relu",
    "scaled_dot_product_attention",
})  # fmt: skip
"""Operations that multiply and accumulate: what one expects a quantizer to reach."""


@dataclass(frozen=True)
class Widths:
    """Bits of weights and of activations."""

    weights: int = 8
    activations: int = 8


def place(
    network: GraphModule, example: Sequence[Tensor], widths: Widths | None = None
) -> GraphModule:
    """A copy with BatchNorm folded and quantizers placed, their encodings still unset.

    example: inputs to learn shapes and types from. Parameters keep their names, except those of
    folded BatchNorm.
    """
    widths = widths or Widths()
    network = fold_batchnorm(network)
    sites = _Sites(network, graph.values(network, example))
    for key, roots in sites.quantized().items():
        for root in roots:
            _after(network, root, key, Scheme(bits=widths.activations))
    for node in list(network.graph.nodes):
        if node in sites.integer and op(node) in WEIGHTED:
            _weights(network, node, widths)
    return graph.rebuilt(network)


def left_float(network: GraphModule) -> tuple[str, ...]:
    """Operations of a placed network that multiply floats, each with its place in the user's code."""
    return tuple(
        f"{graph.where(node)}: {op(node)}"
        for node in network.graph.nodes
        if op(node) in PRODUCTS and not _reads_quantizers(node)
    )


def is_quantized(network: GraphModule) -> bool:
    return any(True for _ in quantizers(network))


def _reads_quantizers(node: Node) -> bool:
    """Whether both factors of a product come off quantizers, moved or not."""
    factors = [a for a in node.args[:2] if isinstance(a, Node)]
    while any(moves(f) for f in factors):
        factors = [f.args[0] if moves(f) else f for f in factors]  # type: ignore[misc]
    return all(f.target is QUANTIZE for f in factors)


class _Sites:
    """Values grouped by the encoding they must share, and the operations that run on integers."""

    def __init__(self, network: GraphModule, values: Mapping[str, Tensor]) -> None:
        self._values = values
        self._parent: dict[Node, Node] = {}
        self.nodes = list(network.graph.nodes)
        self._join_moves()
        self.integer = {n for n in self.nodes if rounds(n) or self._can_follow(n)}
        self._settle()

    def quantized(self) -> dict[str, list[Node]]:
        """Key of an encoding → the nodes to put a quantizer behind."""
        wanted = {self._site(i) for n in self.integer for i in self._operands(n)}
        wanted |= {self._site(n) for n in self.integer if self._must_round(n)}
        found: dict[Node, list[Node]] = {}
        for node in self.nodes:
            if self._is_root(node) and self._site(node) in wanted:
                found.setdefault(self._site(node), []).append(node)
        return {roots[0].name: roots for roots in found.values()}

    def _join_moves(self) -> None:
        for node in self.nodes:
            if moves(node) or (clips(node) and not self._fuses(node)):
                for value in self._operands(node):
                    self._parent[self._site(node)] = self._site(value)
            elif clips(node):
                self._parent[self._site(node.all_input_nodes[0])] = self._site(node)

    def _settle(self) -> None:
        """Take out followers that would only turn floats into integers or integers into floats."""
        changed = True
        while changed:
            idle = {n for n in self.integer if not rounds(n) and not self._pays(n)}
            self.integer -= idle
            changed = bool(idle)

    def _pays(self, node: Node) -> bool:
        """A follower pays when integers come in (small operands aside) and integers go on."""
        big = self._numel(node)
        if op(node) in ("add", "mul"):
            large = [i for i in self._operands(node) if self._numel(i) >= big]
            if not all(self._gives_integers(i) for i in large):
                return False
        elif not all(self._gives_integers(i) for i in self._operands(node)):
            return False
        return self._is_read_as_integers(node)

    def _gives_integers(self, value: Node) -> bool:
        """Whether every value of the site is there as integers anyway."""
        return all(
            n.op in ("placeholder", "get_attr") or self._producer(n) in self.integer
            for n in self.nodes
            if self._is_root(n) and self._site(n) is self._site(value)
        )

    def _is_read_as_integers(self, node: Node) -> bool:
        site = self._site(node)
        return any(self._site(i) is site for n in self.integer for i in self._operands(n))

    def _must_round(self, node: Node) -> bool:
        """Integer kernels other than products write integers, read as such or not."""
        return op(node) not in FREE_FLOAT

    def _can_follow(self, node: Node) -> bool:
        inputs = self._operands(node)
        return bool(inputs) and follows(node, self._values[inputs[0].name].dim())

    def _is_root(self, node: Node) -> bool:
        """Whether a quantizer stands behind this node if its site has one."""
        if not self._is_float(node) or moves(node):
            return False
        users = list(node.users)
        return not (len(users) == 1 and clips(users[0]) and self._fuses(users[0]))

    def _fuses(self, clip: Node) -> bool:
        """Whether the clip can go into the operation before it, which nothing else reads."""
        before = clip.all_input_nodes[0]
        computes = before.op == "call_function" and not moves(before)
        return computes and len(before.users) == 1

    def _producer(self, root: Node) -> Node:
        """The operation behind its fused clips."""
        while clips(root) and self._fuses(root):
            root = root.all_input_nodes[0]
        return root

    def _operands(self, node: Node) -> list[Node]:
        """The float values an operation computes with, its weight and bias left out."""
        given = node.all_input_nodes
        if op(node) in WEIGHTED:
            given = given[:1]
        return [n for n in given if self._is_float(n)]

    def _is_float(self, node: Node) -> bool:
        value = self._values.get(node.name)
        if value is None:  # the pieces of a chunk, before they are picked
            return moves(node)
        return value.is_floating_point()

    def _numel(self, node: Node) -> int:
        return self._values[node.name].numel()

    def _site(self, node: Node) -> Node:
        while node in self._parent and self._parent[node] is not node:
            node = self._parent[node]
        return node


def _after(network: GraphModule, value: Node, key: str, scheme: Scheme) -> None:
    """Put a quantizer behind a value; all that read it read the quantizer."""
    write(network, key, Encoding(torch.tensor(1.0), torch.tensor(0, dtype=torch.int32)))
    quantizer = insert(network, value, key, scheme)
    value.replace_all_uses_with(quantizer, delete_user_cb=lambda user: user is not quantizer)


def _weights(network: GraphModule, node: Node, widths: Widths) -> None:
    """Quantizers for a weight (symmetric, per channel) and the bias that joins its sums."""
    weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    scheme = Scheme(bits=widths.weights, symmetric=True, axis=0)
    channels = len(graph.tensor_of(network, weight))  # type: ignore[arg-type]
    unset = Encoding(torch.ones(channels), torch.zeros(channels, dtype=torch.int32))
    key = f"{node.name}_weight"
    write(network, key, unset)
    node.replace_input_with(weight, insert(network, weight, key, scheme))  # type: ignore[arg-type]
    if isinstance(bias, Node):
        key = f"{node.name}_bias"
        write(network, key, unset)
        limits = (-BIAS_LIMIT, BIAS_LIMIT)
        node.replace_input_with(bias, insert_raw(network, bias, key, limits, 0))
