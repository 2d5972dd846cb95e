"""Writing a graph of ATen operations while running it.

Every value is computed for two batch sizes while the graph is written. A dimension that differs
between the two is the batch's, and only that stays symbolic; what is the same in both and depends
on no input is folded to a constant. So shape arithmetic (Shape → Gather → Concat → Reshape)
vanishes, but for what really follows the batch.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from netsuke.nets.graph import place
from netsuke.nets.onnx_in.values import Size, Value

aten = torch.ops.aten
# Computed constants: our own, and those torch's exporter numbers (and would number again).
NAMELESS = re.compile(r"constants\.")


class Builder:
    """Writes the graph.

    batches: how many batch sizes are tried, 1 where the batch is fixed. written: the batch that
    the file has as a number, 0 where it leaves it free.
    """

    def __init__(self, batches: int, written: int) -> None:
        self.graph = fx.Graph()
        self.root = nn.Module()
        self.batches, self.written = batches, written
        self.label = ""
        self._flag: fx.Node | None = None
        self._first: Value | None = None
        self._held: dict[tuple[str, str], fx.Node] = {}
        self._alive: list[Tensor] = []  # keeps the ids in ``_held`` from being given anew

    def input(self, name: str, seen: Sequence[Tensor]) -> Value:
        """An input of the network."""
        node = self.graph.placeholder(re.sub(r"\W|^(?=\d)", "_", name))
        node.meta["dims"] = seen[0].ndim
        self._first = self._first or Value(tuple(seen), node)
        return Value(tuple(seen), node)

    def constant(self, tensor: Tensor, name: str = "") -> Value:
        """A value known already."""
        return Value((tensor,) * self.batches, None, name)

    def training(self) -> "_Flag":
        """The network's training flag, as an argument of ``call``; False while building."""
        if self._flag is None:
            self._flag = self._read("training")
        return _Flag(self._flag)

    def call(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run an operation and write it down; folded where all it reads is constant.

        Arguments may be Values, Sizes, and lists of them. Gives a Value, or a tuple of Values.
        """
        given = (list(args), kwargs)
        results = [self._run(target, given, i) for i in range(self.batches)]
        live = any(
            isinstance(leaf, Size) or (isinstance(leaf, Value) and leaf.node is not None)
            for leaf in pytree.tree_leaves(given, is_leaf=_is_value)
        )
        if not live:
            return _wrap(results, None)
        spelled: Any = pytree.tree_map(self._spell, given, is_leaf=_is_value)
        node = self.graph.call_function(target, tuple(spelled[0]), spelled[1])
        node.meta = self._meta(node)
        if isinstance(results[0], Tensor):
            node.meta["dims"] = results[0].ndim
            return _wrap(results, node)
        picked = [self._pick(node, i) for i in range(len(results[0]))]
        return tuple(Value(tuple(r[i] for r in results), part) for i, part in enumerate(picked))

    def size(self, value: Value, dim: int) -> int | Size:
        """A dimension of a value: a number, or a Size where it follows the batch."""
        seen = tuple(int(t.shape[dim]) for t in value.seen)
        if len(set(seen)) == 1:
            return seen[0]
        node = self.graph.call_function(aten.sym_size.int, (value.node, dim))
        return Size(self, seen, node)

    def batch(self) -> int | Size:
        """The number of samples: the first dimension of the first input."""
        assert self._first is not None
        return self.size(self._first, 0)

    def arithmetic(self, function: Callable[..., int], a: int | Size, b: int | Size) -> int | Size:
        """A function of Sizes; a plain number where it comes out the same for each batch."""
        each = [tuple(v.seen if isinstance(v, Size) else (v,) * self.batches) for v in (a, b)]
        seen = tuple(function(x, y) for x, y in zip(*each, strict=True))
        if len(set(seen)) == 1:
            return seen[0]
        nodes = (v.node if isinstance(v, Size) else v for v in (a, b))
        return Size(self, seen, self.graph.call_function(function, tuple(nodes)))

    def parameter(self, value: Value, tensor: Tensor | None = None, form: str = "") -> Value:
        """A constant as something to train, or ``tensor``, a ``form`` of it, under its name."""
        held = value.first if tensor is None else tensor
        node = self._attribute(value.name, held.contiguous(), trainable=True, form=form)
        return Value((held,) * self.batches, node)

    def add_bias(self, layer: fx.Node, bias: Value) -> None:
        """Give a layer a bias, and its weight, where an exporter left it nameless, a name to match."""
        weight: Any = layer.args[1]
        layer.args = (*layer.args, self.parameter(bias).node)
        module, _, leaf = bias.name.rpartition(".")
        if leaf == "bias" and NAMELESS.match(str(weight.target)) and len(weight.users) == 1:
            path, _, old = str(weight.target).rpartition(".")
            owner, name = self.root.get_submodule(path), self._free_name(f"{module}.weight")
            place(self.root, name, getattr(owner, old))
            delattr(owner, old)
            weight.target = name
        layer.meta.update(self._meta(layer))

    def buffer(self, value: Value) -> Value:
        """A constant as state that is not trained."""
        return Value(value.seen, self._attribute(value.name, value.first, trainable=False))

    def _spell(self, leaf: Any) -> Any:
        if isinstance(leaf, Size | _Flag):
            return leaf.node
        if not isinstance(leaf, Value):
            return leaf
        if leaf.node is not None:
            return leaf.node
        trainable = bool(leaf.name) and leaf.first.is_floating_point()
        return self._attribute(leaf.name, leaf.first, trainable)

    def _attribute(self, name: str, tensor: Tensor, trainable: bool, form: str = "") -> fx.Node:
        known = (name, form) if name else (str(id(tensor)), "")
        if known not in self._held:
            self._alive.append(tensor)
            free = self._free_name(name or f"constants.{len(self._held)}")
            place(self.root, free, nn.Parameter(tensor.clone()) if trainable else tensor.clone())
            self._held[known] = self._read(free)
        return self._held[known]

    def _read(self, name: str) -> fx.Node:
        """Before the first input, so that every operation may read it."""
        with self.graph.inserting_before(next(iter(self.graph.find_nodes(op="placeholder")))):
            return self.graph.create_node("get_attr", name)

    def _free_name(self, name: str) -> str:
        """A name like this one which a module can hold and does not yet."""
        name = f"constants.{name}" if re.fullmatch(r"val_\d+", name) else name
        parts = [re.sub(r"\W", "_", part) for part in name.split(".") if part]
        clean = [
            part + "_" if hasattr(nn.Module, part) or part == "training" else part for part in parts
        ]
        if self._taken(clean):
            clean = ["_".join(clean)]
        while self._taken(clean):
            clean[-1] += "_"
        return ".".join(clean)

    def _taken(self, parts: list[str]) -> bool:
        """Whether the name, or a part of the way to it, is held by a tensor or is a module."""
        here: Any = self.root
        for part in parts:
            if not isinstance(here, nn.Module):
                return True
            if not hasattr(here, part):
                return False
            here = getattr(here, part)
        return True

    def _meta(self, node: fx.Node) -> dict[str, Any]:
        """Where it is: the module its weight is of by name, else the ONNX node."""
        held = [str(n.target) for n in node.all_input_nodes if n.op == "get_attr"]
        paths = [p for p in (h.rpartition(".")[0] for h in held) if p and p != "constants"]
        name = paths[0] if paths else self.label
        return {"nn_module_stack": {name: (name, "")}}

    def _pick(self, node: fx.Node, index: int) -> fx.Node:
        part = self.graph.call_function(operator.getitem, (node, index))
        part.meta = dict(node.meta)
        return part

    @staticmethod
    def _run(target: Callable[..., Any], given: Any, i: int) -> Any:
        def at(leaf: Any) -> Any:
            if isinstance(leaf, _Flag):
                return False
            return leaf.seen[i] if isinstance(leaf, Value | Size) else leaf

        args, kwargs = pytree.tree_map(at, given, is_leaf=_is_value)
        with torch.no_grad():
            return target(*args, **kwargs)


@dataclass(frozen=True, eq=False)
class _Flag:
    node: fx.Node


def _is_value(leaf: Any) -> bool:
    return isinstance(leaf, Value | Size | _Flag)


def _wrap(results: Sequence[Any], node: fx.Node | None) -> Any:
    if isinstance(results[0], Tensor):
        return Value(tuple(results), node)
    return tuple(Value(tuple(r[i] for r in results)) for i in range(len(results[0])))
