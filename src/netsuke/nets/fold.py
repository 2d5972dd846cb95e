"""BatchNorm folded into the convolution or linear layer before it."""

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from netsuke.nets.graph import argument, is_training, op, place, rebuilt, shared, tensor_of

FOLDABLE = frozenset({
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear",
})  # fmt: skip


@dataclass(frozen=True)
class _Affine:
    """What BatchNorm does in eval mode: y = x · scale + shift, per channel, in float64."""

    scale: Tensor
    shift: Tensor


def fold_batchnorm(network: fx.GraphModule) -> fx.GraphModule:
    """A copy in which each BatchNorm that follows a convolution or linear layer is part of it.

    In eval mode it computes the same; in train mode it uses the running statistics, as at eval.
    The weight keeps its name and a missing bias appears beside it; what is not folded is shared with
    ``network``, so replace it rather than write into it. Left as they are: BatchNorm after
    anything else, without running statistics, or where the layer's output or weight is used twice.
    """
    other = shared(network)
    for norm in [n for n in other.graph.nodes if op(n) == "batch_norm"]:
        layer = norm.args[0]
        if _can_fold(other, norm, layer):
            with torch.no_grad():
                _fold(other, layer, _affine(other, norm))
            statistics = [
                n for n in norm.all_input_nodes[1:] if n.op == "get_attr" and not is_training(n)
            ]
            norm.replace_all_uses_with(layer)
            other.graph.erase_node(norm)
            _forget(other, statistics)
    return rebuilt(other)


def _can_fold(network: fx.GraphModule, norm: fx.Node, layer: fx.Node) -> bool:
    if op(layer) not in FOLDABLE or len(layer.users) > 1:
        return False
    if op(layer) == "linear" and layer.meta.get("dims") != 2:
        return False  # BatchNorm's channels are dimension 1, a linear layer's the last
    fixed = [argument(layer, "weight"), *norm.args[3:5]]
    optional = [argument(layer, "bias"), *norm.args[1:3]]
    if any(tensor_of(network, n) is None for n in (*fixed, *filter(None, optional))):
        return False
    weight = tensor_of(network, fixed[0])
    readers = [n for n in network.graph.nodes if n.op == "get_attr"]
    return sum(len(n.users) for n in readers if tensor_of(network, n) is weight) == 1


def _affine(network: fx.GraphModule, norm: fx.Node) -> _Affine:
    weight, bias, mean, var = (tensor_of(network, n) for n in norm.args[1:5])
    assert mean is not None
    assert var is not None
    scale = torch.rsqrt(var.double() + argument(norm, "eps"))
    scale = scale if weight is None else scale * weight.double()
    shift = -mean.double() * scale
    return _Affine(scale, shift if bias is None else shift + bias.double())


def _fold(network: fx.GraphModule, layer: fx.Node, norm: _Affine) -> None:
    source, given = argument(layer, "weight"), argument(layer, "bias")
    weight, bias = tensor_of(network, source), tensor_of(network, given)
    assert weight is not None
    new = weight.double() * _along_outputs(layer, norm.scale, weight)
    new = new + 0.0  # a pruned weight times a negative scale is −0.0, other bits than the rest's
    place(network, source.target, nn.Parameter(new.to(weight.dtype), weight.requires_grad))
    shift = norm.shift if bias is None else norm.shift + bias.double() * norm.scale
    name = given.target if given is not None else _bias_name(network, source.target)
    place(network, name, nn.Parameter(shift.to(weight.dtype), weight.requires_grad))
    if given is None:
        with network.graph.inserting_before(layer):
            given = network.graph.create_node("get_attr", name)
        layer.args = (*layer.args[:2], given, *layer.args[3:])
        layer.kwargs = {k: v for k, v in layer.kwargs.items() if k != "bias"}


def _along_outputs(layer: fx.Node, scale: Tensor, weight: Tensor) -> Tensor:
    """``scale``, one value per output channel, shaped to multiply the weight."""
    ones = (1,) * (weight.ndim - 2)
    if not op(layer).startswith("conv_transpose"):
        return scale.view(-1, 1, *ones)
    groups = argument(layer, "groups")  # weight: (inputs, outputs / groups, …)
    per_group = scale.view(groups, 1, -1).expand(-1, len(weight) // groups, -1)
    return per_group.reshape(len(weight), -1, *ones)


def _bias_name(network: fx.GraphModule, weight: str) -> str:
    """``conv1.bias`` for ``conv1.weight``; another name where that is taken."""
    name = weight.removesuffix("weight") + "bias"
    while tensor_of(network, name) is not None:
        name += "_folded"
    return name


def _forget(network: fx.GraphModule, statistics: list[fx.Node]) -> None:
    """Delete what only the folded BatchNorm read, and its counter."""
    for node in statistics:
        if node.users:
            continue
        path, _, leaf = str(node.target).rpartition(".")
        network.graph.erase_node(node)
        if any(n.op == "get_attr" and n.target == node.target for n in network.graph.nodes):
            continue
        owner = network.get_submodule(path)
        delattr(owner, leaf)
        if leaf == "running_var" and hasattr(owner, "num_batches_tracked"):
            del owner.num_batches_tracked
