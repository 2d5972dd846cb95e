"""Which operations run on integers, and which values must share an encoding for it."""

from collections.abc import Iterator, Mapping

from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.nets.quantizers.roles import (
    FREE_FLOAT,
    JOINS,
    WEIGHTED,
    clips,
    follows,
    moves,
    op,
    rounds,
)


class Sites:
    """Values grouped by the encoding they must share, and the operations that run on integers.

    A site is the set of values that are one another, moved. Its roots are the values that are made,
    not moved: there quantizers stand. integer: operations that read and write integers.
    """

    def __init__(self, network: GraphModule, values: Mapping[str, Tensor]) -> None:
        self._nodes = list(network.graph.nodes)
        self._values = values
        self._apart: set[Node] = set()
        self._parent: dict[Node, Node] = {}
        self._roots: dict[Node, list[Node]] = {}
        self.integer: set[Node] = set()
        self._group()
        while idle := {n for n in self._nodes if self._joins_floats(n)}:
            self._apart |= idle
            self._group()

    def quantized(self) -> dict[str, list[Node]]:
        """Key of an encoding → the nodes to put a quantizer behind."""
        wanted = self._read() | {self._site(n) for n in self.integer if op(n) not in FREE_FLOAT}
        order = {node: i for i, node in enumerate(self._nodes)}
        found = sorted(
            (self._roots.get(s, []) for s in wanted), key=lambda r: order[r[0]] if r else -1
        )
        return {roots[0].name: roots for roots in found if roots}

    def share(self, one: Node, other: Node) -> bool:
        """Whether two values share an encoding."""
        return self._site(one) is self._site(other)

    def float_readers(self, root: Node) -> list[Node]:
        """What may read the value as it was before its quantizer: operations on floats, where the
        value was a float anyway."""
        if self._producer(root) in self.integer:
            return []
        return [u for u in root.users if not (u in self.integer or self._moves(u) or clips(u))]

    def _group(self) -> None:
        """Sites, and what runs on integers with them."""
        self._parent.clear()
        for node in self._nodes:
            if self._moves(node) or (clips(node) and not self._fuses(node)):
                for value in self._operands(node):
                    self._parent[self._site(node)] = self._site(value)
            elif clips(node):
                self._parent[self._site(node.all_input_nodes[0])] = self._site(node)
        self._roots.clear()
        for node in filter(self._is_root, self._nodes):
            self._roots.setdefault(self._site(node), []).append(node)
        self.integer = {n for n in self._nodes if rounds(n) or self._can_follow(n)}
        self._settle()

    def _settle(self) -> None:
        """Take out followers that would only turn floats into integers or integers into floats."""
        idle = {n for n in self.integer if not rounds(n)}
        while idle:
            read = self._read()
            idle = {n for n in self.integer if not rounds(n) and not self._pays(n, read)}
            self.integer -= idle

    def _read(self) -> set[Node]:
        """The sites that integer operations read."""
        return {self._site(i) for n in self.integer for i in self._operands(n)}

    def _pays(self, node: Node, read: set[Node]) -> bool:
        """A follower pays when integers come in (small operands aside) and integers go on."""
        given = self._operands(node)
        if op(node) in ("add", "mul"):
            given = [i for i in given if self._numel(i) >= self._numel(node)]
        return self._site(node) in read and all(self._gives_integers(i) for i in given)

    def _gives_integers(self, value: Node) -> bool:
        """Whether every value of the site is there as integers anyway."""
        return all(
            root.op in ("placeholder", "get_attr") or self._producer(root) in self.integer
            for root in self._roots.get(self._site(value), [])
        )

    def _joins_floats(self, node: Node) -> bool:
        """Whether a concatenation is read by nothing that wants integers: then its parts need not
        share an encoding, which costs the small ones among them their precision."""
        if op(node) not in JOINS or node in self._apart:
            return False
        return not any(user in self.integer for user in self._readers(node))

    def _readers(self, node: Node) -> Iterator[Node]:
        """What computes with the value, moved or not."""
        for user in node.users:
            if self._moves(user) or clips(user):
                yield from self._readers(user)
            else:
                yield user

    def _moves(self, node: Node) -> bool:
        return moves(node) and node not in self._apart

    def _can_follow(self, node: Node) -> bool:
        given = self._operands(node)
        # what picks a piece of a chunk moves it, and the pieces together have no shape
        value = self._values.get(given[0].name) if given else None
        return value is not None and follows(node, value.dim())

    def _is_root(self, node: Node) -> bool:
        """Whether a quantizer stands behind this node if its site has one."""
        if not self._is_float(node) or self._moves(node):
            return False
        users = list(node.users)
        return not (len(users) == 1 and clips(users[0]) and self._fuses(users[0]))

    def _fuses(self, clip: Node) -> bool:
        """Whether the clip can go into the operation before it, which nothing else reads."""
        before = clip.all_input_nodes[0]
        computes = before.op == "call_function" and not self._moves(before)
        return computes and len(before.users) == 1

    def _producer(self, root: Node) -> Node:
        """The operation behind its fused clips."""
        while clips(root) and self._fuses(root):
            root = root.all_input_nodes[0]
        return root

    def _operands(self, node: Node) -> list[Node]:
        """The float values an operation computes with, its weight and bias left out."""
        given = node.all_input_nodes[:1] if op(node) in WEIGHTED else node.all_input_nodes
        return [n for n in given if self._is_float(n)]

    def _is_float(self, node: Node) -> bool:
        value = self._values.get(node.name)
        if value is None:  # the pieces of a chunk, before they are picked
            return moves(node)
        return value.is_floating_point()

    def _numel(self, node: Node) -> int:
        return self._values[node.name].numel()

    def _site(self, node: Node) -> Node:
        while (parent := self._parent.get(node, node)) is not node:
            node = parent
        return node
