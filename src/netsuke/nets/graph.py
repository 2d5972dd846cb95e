"""Reading and editing a network: a plain ``torch.fx.GraphModule`` of ATen operations.

Parameters and buffers are ``get_attr`` nodes under the user's names. One more ``get_attr`` node,
``training``, reads the module's own flag: BatchNorm and dropout take it as an argument, so
``network.train()``, ``network.eval()``, deep copies and every edited copy follow it with no switch
to keep in step. ``inference`` gives a copy without any of that, for export.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

TORCH = str(Path(torch.__file__).parent)
RANDOM = ("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")


def clone(network: fx.GraphModule) -> fx.GraphModule:
    """A deep copy: parameters, buffers, mode and metadata; ties between parameters are kept."""
    other = copy.deepcopy(network)
    # Copying a GraphModule registers its top-level buffers anew, all of them persistent.
    other._non_persistent_buffers_set = set(network._non_persistent_buffers_set)
    return other


def shared(network: fx.GraphModule) -> fx.GraphModule:
    """A copy with a graph of its own, whose parameters and buffers are those of ``network`` itself.

    For edits that put other tensors in their place and never write into them: a large model is then
    not held twice.
    """
    other = copy.deepcopy(network, {id(tensor): tensor for _, tensor in tensors(network)})
    other._non_persistent_buffers_set = set(network._non_persistent_buffers_set)
    return other


def rebuilt(network: fx.GraphModule) -> fx.GraphModule:
    """``network`` itself after edits to its graph: dead nodes dropped, checked, compiled anew."""
    trim(network.graph)
    network.recompile()
    return network


def trim(graph: fx.Graph) -> None:
    """Drop the nodes that nobody reads, and check the rest."""
    graph.eliminate_dead_code(_acts)
    graph.lint()


def _acts(node: fx.Node) -> bool:
    """Whether a node matters though nobody reads it. BatchNorm does not: its statistics are its own."""
    return node.op in ("placeholder", "output") or op(node).endswith("_")


def op(node: fx.Node) -> str:
    """``"conv2d"`` for ``torch.ops.aten.conv2d.default``; ``""`` for what is no operation.

    Operations of other namespaces carry theirs: ``"netsuke.quantize"``, ``"operator.mul"``.
    """
    if node.op != "call_function":
        return ""
    target: Any = node.target
    if isinstance(target, torch._ops.OpOverload):
        name = target._schema.name.replace("::", ".")
        return name.removeprefix("aten.")
    return f"{target.__module__.strip('_')}.{target.__name__}"


def argument(node: fx.Node, name: str, default: Any = None) -> Any:
    """An operation's argument by its name in the ATen schema, whether positional or not.

    ``argument(conv, "groups")`` is the schema's default where the call leaves it out, and
    ``default`` where the schema has no such argument.
    """
    if name in node.kwargs:
        return node.kwargs[name]
    schema = getattr(node.target, "_schema", None)
    for position, known in enumerate(schema.arguments if schema else ()):
        if known.name == name:
            if position < len(node.args):
                return node.args[position]
            return known.default_value if known.has_default_value() else default
    return default


def each_dimension(value: int | Sequence[int], dims: int) -> list[int]:
    """An argument such as a stride, one number a dimension: a single one stands for all."""
    listed = [value] if isinstance(value, int) else list(value)
    return listed * dims if len(listed) == 1 else listed


def is_training(value: Any) -> bool:
    """Whether this argument is the node that reads the network's training flag."""
    return isinstance(value, fx.Node) and value.op == "get_attr" and value.target == "training"


def tensor_of(network: fx.GraphModule, value: Any) -> Tensor | None:
    """The parameter or buffer a ``get_attr`` node (or a name) stands for; None for all else."""
    name = value.target if isinstance(value, fx.Node) and value.op == "get_attr" else value
    if not isinstance(name, str):
        return None
    found: Any = network
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, Tensor) else None


def set_tensor(network: fx.GraphModule, name: str, tensor: Tensor) -> None:
    """Put ``tensor`` where the parameter or buffer ``name`` is, under all names tied to it.

    A parameter stays one (and keeps ``requires_grad``); a new name becomes a buffer.
    """
    old = tensor_of(network, name)
    names = [name] if old is None else aliases(network, old)
    if isinstance(old, nn.Parameter):
        tensor = nn.Parameter(tensor.detach(), requires_grad=old.requires_grad)
    for each in names:
        place(network, each, tensor, persistent=persistent(network, each))


def aliases(network: nn.Module, tensor: Tensor) -> list[str]:
    """Every name under which this very parameter or buffer is registered."""
    return [name for name, t in tensors(network) if t is tensor]


def tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All parameters and buffers by name, tied ones under each name, non-persistent ones too."""
    yield from network.named_parameters(remove_duplicate=False)
    yield from network.named_buffers(remove_duplicate=False)


def drop_unused(network: fx.GraphModule) -> None:
    """Delete the parameters and buffers which no node reads."""
    read = {node.target for node in network.graph.nodes if node.op == "get_attr"}
    for name, _ in list(tensors(network)):
        if name not in read:
            path, _, leaf = name.rpartition(".")
            delattr(network.get_submodule(path), leaf)


def adopt(network: nn.Module, source: nn.Module) -> None:
    """Register what ``source`` has and ``network`` lacks; the same tensors, ties and persistence."""
    for name, tensor in tensors(source):
        place(network, name, tensor, persistent=persistent(source, name))


def place(network: nn.Module, name: str, tensor: Tensor, persistent: bool = True) -> None:
    """Register ``tensor`` (a Parameter as such, else as a buffer) as ``name``, replacing what was."""
    *path, leaf = name.split(".")
    owner = network
    for part in path:
        if not hasattr(owner, part):
            setattr(owner, part, nn.Module())
        owner = getattr(owner, part)
    if hasattr(owner, leaf):
        delattr(owner, leaf)
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(leaf, tensor)
    else:
        owner.register_buffer(leaf, tensor, persistent=persistent)


def persistent(network: nn.Module, name: str) -> bool:
    """Whether the tensor of that name is part of the state_dict."""
    path, _, leaf = name.rpartition(".")
    try:
        return leaf not in network.get_submodule(path)._non_persistent_buffers_set
    except AttributeError:
        return True


def shapes(network: fx.GraphModule, example: Sequence[Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each node that gives a tensor, by node name, found by running the network."""
    found: dict[str, tuple[int, ...]] = {}
    watch(network, example, lambda node, tensor: found.update({node.name: tuple(tensor.shape)}))
    return found


def values(network: fx.GraphModule, example: Sequence[Tensor]) -> dict[str, Tensor]:
    """Each tensor on the way of ``example`` through the network in eval mode, by node name.

    Everything is held at once: give a small example, or ``watch`` instead.
    """
    seen: dict[str, Tensor] = {}
    watch(network, example, lambda node, tensor: seen.update({node.name: tensor}))
    return seen


def watch(
    network: fx.GraphModule, example: Sequence[Tensor], see: Callable[[fx.Node, Tensor], object]
) -> None:
    """Run the network in eval mode, showing ``see`` each node's tensor; its mode stays as it was."""

    class Watched(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            result = super().run_node(n)
            if isinstance(result, Tensor) and n.op != "output":
                see(n, result)
            return result

    mode = network.training
    network.eval()
    try:
        with torch.no_grad():
            Watched(network).run(*example)
    finally:
        network.train(mode)


def module_name(node: fx.Node) -> str:
    """The user's module that this operation is in, ``"layer1.0.conv1"``; ``""`` for the top."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(next(reversed(stack.values()))[0]) if stack else ""
    return path.removeprefix("L['self'].")


def source(node: fx.Node) -> str:
    """The user's line, ``"resnet.py:31"``, never one inside torch; ``""`` where unknown."""
    found = ""
    for line in (node.stack_trace or "").splitlines():
        file, _, rest = line.strip().removeprefix('File "').partition('", line ')
        if rest and not file.startswith((TORCH, "<")):
            found = f"{Path(file).name}:{rest.split(',')[0]}"
    return found


def where(node: fx.Node) -> str:
    """The place of an operation for messages: ``"layer1.0.conv1 (resnet.py:31)"``."""
    name, line = module_name(node) or node.name, source(node)
    return f"{name} ({line})" if line else name


def inference(network: fx.GraphModule) -> fx.GraphModule:
    """A copy in eval mode that cannot train: the flag is the constant False, dropout is gone."""
    other = shared(network).eval()
    graph = other.graph
    for node in list(graph.nodes):
        if op(node).removesuffix("_") in RANDOM:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    for node in list(graph.nodes):
        if is_training(node):
            for user in list(node.users):
                _freeze(user, node)
            graph.erase_node(node)
    return rebuilt(other)


def _freeze(user: fx.Node, flag: fx.Node) -> None:
    """Take the training flag out of one of its users."""
    if op(user) == "operator.mul":  # the probability of dropout in attention: 0.0 in eval
        for attention in list(user.users):
            attention.args = fx.map_arg(attention.args, lambda n: 0.0 if n is user else n)
            attention.kwargs = fx.map_arg(attention.kwargs, lambda n: 0.0 if n is user else n)
        user.graph.erase_node(user)
        return
    if op(user) == "add_":  # a counter of batches
        user.replace_all_uses_with(user.all_input_nodes[0])
        user.graph.erase_node(user)
        return
    user.args = fx.map_arg(user.args, lambda n: False if n is flag else n)
    user.kwargs = fx.map_arg(user.kwargs, lambda n: False if n is flag else n)
