"""One run of a network, kept as a list of calls: what each operation was given and gave."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._pytree import tree_map

from netsuke.nets.graph import aliases, clone, where


@dataclass(frozen=True)
class Call:
    """One node as it ran. Tensors are kept on the meta device: their shapes are all we need.

    kind: the operation's bare name ("conv2d"), or the node's kind for what is no ATen operation.
    raw: the node's own arguments by the schema's names; for a parameter its first name, so that tied
    ones are one. given: their values. result: what came out.
    """

    node: Node
    kind: str
    raw: Mapping[str, Any]
    given: Mapping[str, Any]
    result: Any

    @property
    def where(self) -> str:
        """The operation and where the user wrote it, for messages."""
        return f"{self.kind} at {where(self.node)}"


def record(network: GraphModule, example: tuple[Tensor, ...]) -> tuple[Call, ...]:
    """Run a copy of the network once, in eval mode, and keep every call in order."""
    recorder = _Recorder(clone(network).eval(), network)
    with torch.no_grad():
        recorder.run(*example)
    return tuple(recorder.calls)


class _Recorder(Interpreter):
    def __init__(self, copy: GraphModule, original: GraphModule) -> None:
        super().__init__(copy)
        self.calls: list[Call] = []
        self._originals = {n.name: n for n in original.graph.nodes}

    def run_node(self, n: Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        result = super().run_node(n)
        node = self._originals[n.name]
        raw = bind(node, node.args, node.kwargs)
        if n.op == "get_attr" and isinstance(result, Tensor):
            raw = {"tensor": aliases(self.module, result)[0]}
        given = tree_map(_meta, bind(node, args, kwargs))
        self.calls.append(Call(node, kind(node), raw, given, tree_map(_meta, result)))
        return result


def kind(node: Node) -> str:
    """``conv2d`` for ``aten.conv2d.default``; an in-place operation goes by its plain name."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return getattr(node.target, "__name__", node.op) if node.op == "call_function" else node.op
    name = node.target._schema.name.split("::")[1]
    return name if name.endswith("__") else name.removesuffix("_")


def bind(node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by the names of the operation's schema, defaults filled in."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return {str(i): a for i, a in enumerate(args)} | dict(kwargs)
    schema = node.target._schema.arguments
    bound = {a.name: a.default_value for a in schema if a.has_default_value()}
    bound.update({a.name: value for a, value in zip(schema, args, strict=False)})
    return bound | dict(kwargs)


def _meta(value: Any) -> Any:
    return (
        torch.empty(value.shape, dtype=value.dtype, device="meta")
        if isinstance(value, Tensor)
        else value
    )
