"""A module → a Model: one graph of ATen operations, captured once, kept to the end of the walk.

``torch.export`` traces in train mode, before any decomposition, so that a convolution, BatchNorm or
attention stays one node. What it gives cannot change its mode, so the graph is copied into a plain
GraphModule whose BatchNorm and dropout read the module's own ``training`` flag (``nets/graph.py``).
"""

import copy
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model, Step
from netsuke.nets.graph import adopt, argument, op, rebuilt, tensors
from netsuke.nets.inline import inline_regions
from netsuke.nets.inplace import without_inplace
from netsuke.nets.trace import first_line, line_of, trace

KEPT = ("nn_module_stack", "stack_trace")
FLAGS = ("train", "training", "use_input_stats")
HARMLESS = ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range")
EVAL_ONLY = (
    "captured in eval mode: in train mode the module computes something else, "
    "so it retrains without what only training does (auxiliary outputs, stochastic depth)"
)


def capture(module: nn.Module, example: Tensor | Sequence[Tensor], name: str = "model") -> Model:
    """Capture ``module`` as a Model whose network computes exactly what the module does in eval.

    example: one tensor per input, samples first; one sample is enough. The batch stays free, other
    sizes are fixed to the example's. The module itself is left untouched.

    Raises NetsukeError, in one line with the user's source line, where the module refuses the
    example, does not trace, fixes the batch, or holds a parameter that is NaN or infinite.
    """
    inputs = _two_samples(example, name)
    _refuse_broken_weights(module, name)
    twin = _copied(module, name)
    expected = _run(twin.eval(), inputs, name)
    network = _in_train_mode(twin, inputs, name)
    notes: tuple[Step, ...] = ()
    if network is None or _random(network) or not _same(network.eval(), inputs, expected):
        network = _network(twin.eval(), inputs, name)
        notes = (Step(name="capture", notes=(EVAL_ONLY,)),)
        if _random(network) or not _same(network.eval(), inputs, expected):
            raise NetsukeError(
                f"{name}: computes something else each time it runs in eval mode; "
                "make it deterministic (dropout without training=self.training?)"
            )
    _check_batch(network, twin.eval(), inputs, name)
    return Model(network=network.train(module.training), example=inputs, name=name, lineage=notes)


def _two_samples(example: Tensor | Sequence[Tensor], name: str) -> tuple[Tensor, ...]:
    """A batch of one would be taken for a constant; a view would keep its whole base."""
    given = (example,) if isinstance(example, Tensor) else tuple(example)
    for i, tensor in enumerate(given):
        if not isinstance(tensor, Tensor) or tensor.ndim == 0 or len(tensor) == 0:
            raise NetsukeError(f"{name}: example input {i} must be a tensor with samples first")
    if len({len(t) for t in given}) > 1:
        raise NetsukeError(f"{name}: the example inputs have batches of {[len(t) for t in given]}")
    return tuple(torch.cat((t, t))[:2].detach().cpu().clone() for t in given)


def _refuse_broken_weights(module: nn.Module, name: str) -> None:
    for key, tensor in tensors(module):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NetsukeError(f"{name}: parameter {key} holds NaN or infinite values")


def _copied(module: nn.Module, name: str) -> nn.Module:
    try:
        return copy.deepcopy(module).cpu()
    except Exception as error:
        raise NetsukeError(f"{name}: cannot be copied: {first_line(error)}") from error


def _run(module: nn.Module, inputs: tuple[Tensor, ...], name: str) -> list[Any]:
    try:
        with torch.no_grad():
            return pytree.tree_leaves(module(*inputs))
    except Exception as error:
        given = ", ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in inputs)
        raise NetsukeError(
            f"{name}: refuses an input of shape {given}: {first_line(error)}{line_of(error)}"
        ) from error


def _in_train_mode(
    module: nn.Module, inputs: tuple[Tensor, ...], name: str
) -> fx.GraphModule | None:
    """None where it does not trace so: layers that are dropped at random are control flow by data."""
    try:
        return _network(module.train(), inputs, name)
    except NetsukeError:
        return None


def _network(module: nn.Module, inputs: tuple[Tensor, ...], name: str) -> fx.GraphModule:
    exported = trace(module, inputs, name)
    graph = fx.Graph()
    _flat_output(graph, graph.graph_copy(exported.graph, {}))
    inline_regions(graph, exported)
    without_inplace(graph)
    _tidy(graph)
    network = fx.GraphModule(exported, graph, class_name="Network")
    constants = {key for key, _ in tensors(network)} - {key for key, _ in tensors(module)}
    network._non_persistent_buffers_set |= constants  # numbers in the code are no state
    adopt(network, module)
    network.training = module.training
    return rebuilt(network)


def _flat_output(graph: fx.Graph, result: Any) -> None:
    """A single output is the tensor itself; several are a tuple."""
    leaves = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, fx.Node)]
    graph.output(leaves[0] if len(leaves) == 1 else tuple(leaves))


def _tidy(graph: fx.Graph) -> None:
    """Drop tracing's assertions, tie modes to the flag, keep the metadata that lasts."""
    flag = _flag(graph)
    for node in list(graph.nodes):
        node.meta = _lasting(node)
        schema = getattr(node.target, "_schema", None)
        if schema is None:
            continue
        short = schema.name.removeprefix("aten::")
        if short.startswith(HARMLESS) or _counts(node) or _copies_constant(node):
            if node.users:
                node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
            continue
        _tie(node, schema, flag)
    if not flag.users:
        graph.erase_node(flag)


def _lasting(node: fx.Node) -> dict[str, Any]:
    """The metadata that stays true after surgery: where it comes from, its number of dimensions."""
    value = node.meta.get("val")
    kept = {} if op(node) == "sym_size" else {k: node.meta[k] for k in KEPT if k in node.meta}
    return {**kept, "dims": value.ndim} if isinstance(value, Tensor) else kept


def _flag(graph: fx.Graph) -> fx.Node:
    first = next(n for n in graph.nodes if n.op != "placeholder")
    with graph.inserting_before(first):
        return graph.create_node("get_attr", "training", name="training")


def _counts(node: fx.Node) -> bool:
    """BatchNorm's count of batches, which nothing in the graph reads."""
    if op(node) != "add_" or node.users:
        return False
    return str(getattr(node.args[0], "target", "")).endswith("num_batches_tracked")


def _copies_constant(node: fx.Node) -> bool:
    """What tracing puts around ``torch.tensor([…])`` in the user's code."""
    name = op(node)
    return name in ("lift_fresh_copy", "lift_fresh") or (
        name in ("detach_", "detach") and getattr(node.args[0], "op", "") == "get_attr"
    )


def _tie(node: fx.Node, schema: Any, flag: fx.Node) -> None:
    """Let an operation captured in train mode follow the network's mode."""
    if _always_from_batch(node):
        return
    arguments: list[Any] = list(node.args)
    for i, known in enumerate(schema.arguments[: len(arguments)]):
        arguments[i] = _tied(node, known.name, arguments[i], flag)
    node.args = tuple(arguments)
    node.kwargs = {key: _tied(node, key, value, flag) for key, value in node.kwargs.items()}


def _tied(node: fx.Node, name: str, value: Any, flag: fx.Node) -> Any:
    if name in FLAGS and value is True:
        return flag
    if name == "dropout_p" and isinstance(value, float) and value > 0:
        with node.graph.inserting_before(node):
            return node.graph.call_function(operator.mul, (flag, value))
    return value


def _always_from_batch(node: fx.Node) -> bool:
    """Normalisation without running statistics uses the batch's own in every mode."""
    normalises = "batch_norm" in str(node.target) or "instance_norm" in str(node.target)
    return normalises and node.args[3] is None


def _random(network: fx.GraphModule) -> bool:
    """Whether it draws random numbers in eval mode too."""
    return any(
        torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        and not any(argument(node, flag) is not None for flag in (*FLAGS, "dropout_p"))
        for node in network.graph.nodes
    )


def _same(network: fx.GraphModule, inputs: tuple[Tensor, ...], expected: list[Any]) -> bool:
    with torch.no_grad():
        given = pytree.tree_leaves(network(*inputs))
    wanted = [leaf for leaf in expected if isinstance(leaf, Tensor)]
    return len(given) == len(wanted) and all(map(_close, given, wanted))


def _close(given: Tensor, wanted: Tensor) -> bool:
    """Equal, but for what torch's fused attention of eval mode rounds differently."""
    if given.shape != wanted.shape or given.dtype != wanted.dtype:
        return False
    return torch.allclose(given, wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


def _check_batch(
    network: fx.GraphModule, module: nn.Module, inputs: tuple[Tensor, ...], name: str
) -> None:
    """The batch must be free in deed: one sample and three go through as through the module."""
    for count in (1, 3):
        batch = tuple(torch.cat((t, t))[:count] for t in inputs)
        try:
            same = _same(network, batch, _run(module, batch, name))
        except RuntimeError as error:
            raise NetsukeError(
                f"{name}: captured with 2 samples it refuses {count}: {first_line(error)}"
            ) from error
        if not same:
            raise NetsukeError(f"{name}: captured with 2 samples it differs with {count}")
