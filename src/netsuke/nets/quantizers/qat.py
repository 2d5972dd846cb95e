"""The form in which a quantized network is trained, and the way back.

A placed, calibrated network becomes one whose quantizers are ``LearnedStep`` modules, whose biases
are float, and whose BatchNorm is live again behind the convolution it was folded into. With one step
a channel of the weight the way back is exact: what BatchNorm multiplies a channel by in eval mode
moves into the channel's step, and the integers stay as they were trained (after Jacob et al., 2018,
who fold in each step of training instead).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn.modules.batchnorm import _BatchNorm

from netsuke.nets import graph
from netsuke.nets.quantizers.calibrate import encode_biases
from netsuke.nets.quantizers.lsq import Grid, LearnedStep
from netsuke.nets.quantizers.quantizer import (
    BIAS_LIMIT,
    HOME,
    Encoding,
    Quantizer,
    along,
    quantizers,
    read,
    write,
)
from netsuke.nets.quantizers.roles import WEIGHTED, op

STEPS, NORMS = "learned_steps", "live_norms"
"""The submodules of a network in training that hold its quantizers and its BatchNorms."""
KINDS: dict[str, type[_BatchNorm]] = {
    "conv1d": nn.BatchNorm1d, "conv2d": nn.BatchNorm2d, "conv3d": nn.BatchNorm3d, "linear": nn.BatchNorm1d,
}  # fmt: skip
TINY = torch.finfo(torch.float32).tiny


def trainable(placed: GraphModule, original: GraphModule, example: Sequence[Tensor]) -> GraphModule:
    """A copy of a calibrated network to be trained.

    original: the network before it was placed, whose BatchNorm comes back; the placed one itself
    where it is to stay folded. Computes, in eval mode, what ``placed`` computes but for the rounding
    of biases.
    """
    network = graph.clone(placed)
    norms = _folded(original, placed)
    shapes = graph.shapes(placed, example)
    for q in list(quantizers(network)):
        if q.limits[1] == BIAS_LIMIT:
            _put(network, q, q.source)
        else:
            _learn(network, q, shapes)
    for q in quantizers(placed):
        if hasattr(network.get_submodule(HOME), q.key):
            delattr(network.get_submodule(HOME), q.key)
    for node in list(network.graph.nodes):
        norm = norms.get(_weight_name(node))
        if norm is not None:
            _revive(network, node, original, norm)
    return graph.rebuilt(network)


def deployed(trained: GraphModule, placed: GraphModule) -> GraphModule:
    """A copy of ``placed`` with what ``trained``, made of it by ``trainable``, has learned.

    BatchNorm is folded, weights stand on their grid and biases are encoded anew, so that the result
    computes what ``trained`` computes in eval mode but for the rounding of biases.
    """
    network = graph.clone(placed)
    with torch.no_grad():
        for name, _ in list(graph.tensors(network)):
            learned = graph.tensor_of(trained, name)
            if learned is not None and not name.startswith(f"{HOME}."):
                graph.set_tensor(network, name, learned.detach().clone())
        for q in quantizers(network):
            if q.limits[1] != BIAS_LIMIT:
                _settle(network, q, trained)
        encode_biases(network)
    return network


def learned_steps(network: nn.Module) -> Iterator[LearnedStep]:
    """The quantizers of a network in training."""
    return (m for m in network.modules() if isinstance(m, LearnedStep))


def freeze(network: nn.Module) -> None:
    """Learn no step any more; ranges stand still from here on."""
    for step in learned_steps(network):
        step.scale.requires_grad_(False)


def _learn(network: GraphModule, q: Quantizer, shapes: dict[str, tuple[int, ...]]) -> None:
    """Put a LearnedStep where the quantizer is; those of one key are one."""
    target = f"{STEPS}.{q.key}"
    if not _has(network, target):
        shape = shapes[q.node.name]
        count = 1
        for size in shape[1:]:
            count *= size
        if q.constant and q.axis < 0:
            count *= shape[0]
        network.add_submodule(
            target, LearnedStep(read(network, q.key), Grid(q.limits, q.axis, q.group), count)
        )
    with network.graph.inserting_before(q.node):
        node = network.graph.call_module(target, (q.source,))
    node.meta = dict(q.node.meta)
    _put(network, q, node)


def _put(network: GraphModule, q: Quantizer, node: Node) -> None:
    """Let this node stand for the quantizer."""
    inputs = q.node.all_input_nodes[1:]
    q.node.replace_all_uses_with(node)
    network.graph.erase_node(q.node)
    for unused in inputs:
        if not unused.users:
            network.graph.erase_node(unused)


def _folded(original: GraphModule, placed: GraphModule) -> dict[str, Node]:
    """Weight's name → the BatchNorm of ``original`` that ``placed`` has folded into it."""
    left = {n.name for n in placed.graph.nodes if op(n) == "batch_norm"}
    found = {}
    for norm in original.graph.nodes:
        if op(norm) == "batch_norm" and norm.name not in left:
            weight = graph.argument(_layer_of(norm), "weight")
            found[str(weight.target)] = norm
    return found


def _weight_name(node: Node) -> str:
    """The name of the weight that a layer in training reads through a LearnedStep."""
    source = node.args[1] if op(node) in WEIGHTED and len(node.args) > 1 else None
    if isinstance(source, Node) and source.op == "call_module":
        return str(source.all_input_nodes[0].target)
    return ""


def _revive(network: GraphModule, layer: Node, original: GraphModule, norm: Node) -> None:
    """Take BatchNorm out of the layer again: its weight as it was, its bias gone."""
    source = _layer_of(norm)
    weight, bias = (
        graph.tensor_of(original, graph.argument(source, n)) for n in ("weight", "bias")
    )
    live, turn = _live(original, norm, bias)
    assert weight is not None
    step = _step(network, str(layer.all_input_nodes[1].target))
    with torch.no_grad():
        graph.set_tensor(network, _weight_name(layer), weight * along(weight, turn, 0))
        gain = _across(_gain(live), step.scale)
        reach = weight.flatten(1).abs().amax(1).clamp(min=TINY)
        step.scale.copy_(torch.where(gain > TINY, step.scale / gain, _across(reach, step.scale)))
    _drop_bias(network, layer)
    target = f"{NORMS}.{layer.name}"
    network.add_submodule(target, live)
    with network.graph.inserting_after(layer):
        node = network.graph.call_module(target, (layer,))
    node.meta = dict(layer.meta)
    layer.replace_all_uses_with(node, delete_user_cb=lambda user: user is not node)


def _drop_bias(network: GraphModule, layer: Node) -> None:
    """Folding gave the layer its bias; nothing else reads it."""
    given = layer.args[2]
    layer.args = (*layer.args[:2], None, *layer.args[3:])
    if isinstance(given, Node) and not given.users:
        network.graph.erase_node(given)
        path, _, leaf = str(given.target).rpartition(".")
        delattr(network.get_submodule(path), leaf)


def _across(values: Tensor, like: Tensor) -> Tensor:
    """One value a channel, shaped to be multiplied with one or several steps a channel."""
    return values.view(-1, *(1,) * (like.ndim - 1))


def _step(network: GraphModule, target: str) -> LearnedStep:
    step = network.get_submodule(target)
    assert isinstance(step, LearnedStep)
    return step


def _live(original: GraphModule, norm: Node, bias: Tensor | None) -> tuple[_BatchNorm, Tensor]:
    """BatchNorm as a module for a layer without bias, and the sign to turn each channel by: with a
    gain above zero, codes keep their sign when it is folded."""
    gain, shift, mean, var = (graph.tensor_of(original, n) for n in norm.args[1:5])
    assert mean is not None
    assert var is not None
    kind, momentum = KINDS[op(_layer_of(norm))], graph.argument(norm, "momentum")
    live = kind(len(mean), eps=graph.argument(norm, "eps"), momentum=momentum)
    assert live.running_mean is not None
    assert live.running_var is not None
    with torch.no_grad():
        gain = torch.ones_like(mean) if gain is None else gain
        turn = torch.where(gain < 0, -1.0, 1.0)
        live.weight.copy_(gain.abs())
        live.bias.copy_(torch.zeros_like(mean) if shift is None else shift)
        live.running_mean.copy_((mean if bias is None else mean - bias) * turn)
        live.running_var.copy_(var)
    return live, turn


def _layer_of(norm: Node) -> Node:
    """What a BatchNorm reads."""
    return norm.all_input_nodes[0]


def _settle(network: GraphModule, q: Quantizer, trained: GraphModule) -> None:
    """Write what a quantizer has learned; a weight is put on its grid."""
    learned = _step(trained, f"{STEPS}.{q.key}")
    encoding = learned.encoding()
    if not q.constant or q.axis < 0:
        write(network, q.key, encoding)
        return
    weight = graph.tensor_of(trained, q.source)
    assert weight is not None
    codes, scale = learned.codes(weight).double(), encoding.scale.double()
    (layer,) = q.node.users
    if _has(trained, f"{NORMS}.{layer.name}"):
        live = trained.get_submodule(f"{NORMS}.{layer.name}")
        assert isinstance(live, _BatchNorm)
        assert live.running_mean is not None
        gain = _gain(live)
        codes, scale = codes * along(codes, gain.sign(), 0), scale * _across(gain.abs(), scale)
        shift = live.bias.double() - live.running_mean.double() * gain
        graph.set_tensor(network, _bias_name(layer), shift.float())
    # A channel that BatchNorm has silenced keeps no codes: its step would be a denormal number.
    codes = codes * along(codes, scale > TINY, q.axis, q.group)
    scale = torch.where(scale > TINY, scale, 1.0).float()
    write(network, q.key, Encoding(scale, encoding.zero_point))
    value = codes * along(codes, scale, q.axis, q.group)
    graph.set_tensor(network, str(q.source.target), value.float())


def _gain(live: _BatchNorm) -> Tensor:
    """What BatchNorm multiplies each channel by in eval mode, in float64."""
    assert live.running_var is not None
    return live.weight.double() * (live.running_var.double() + live.eps).rsqrt()


def _bias_name(layer: Node) -> str:
    """The name of the bias that a placed layer reads through its quantizer."""
    node = layer.args[2]
    while isinstance(node, Node) and node.op != "get_attr":
        node = node.all_input_nodes[0]
    return str(node.target)  # type: ignore[union-attr]


def _has(network: nn.Module, target: str) -> bool:
    try:
        network.get_submodule(target)
    except AttributeError:
        return False
    return True
