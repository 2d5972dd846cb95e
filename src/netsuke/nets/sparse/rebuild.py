"""The weights that stay make up for those that leave: layer by layer, on calibration data, no labels."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.nets.graph import set_tensor, tensor_of
from netsuke.nets.quantizers.roles import WEIGHTED, op
from netsuke.nets.quantizers.rounding.problem import Quadratic
from netsuke.nets.quantizers.rounding.stages import layer_by_layer
from netsuke.nets.sparse.layers import Layer, check_finite
from netsuke.nets.sparse.solve import descended
from netsuke.nets.sparse.zeros import Zeros

DAMPING = 0.01
WIDEST = 8192
"""A layer that sums over more inputs keeps its weights as they are: their products would fill memory."""


def rebuild(
    network: GraphModule,
    layers: Sequence[Layer],
    kept: Mapping[str, Tensor],
    batches: Iterable[Sequence[Tensor]],
) -> int:
    """Put in each weight's place the one with these zeros that gives best what the layer gave (in place).

    Layers are solved in the order of the graph: each reads what the network pruned so far gives it and
    aims at what it gave in the network as it came. For the zeros given this is what Optimal Brain
    Surgeon does one weight at a time (Hassibi and Stork, 1993; SparseGPT: Frantar and Alistarh, 2023).
    Transposed convolutions, weights that are shared, and layers of more than 8,192 inputs only get
    their zeros. Gives the number of layers that were fitted.
    """
    own = {x.nodes[0]: x for x in layers if len(x.nodes) == 1 and _is_fitted(network, x)}

    def solve(node: Node, x: Tensor, y: Tensor) -> None:
        check_finite(node, x)
        weight = _of(network, node.args[1])
        mask = kept[own[node].weight]
        bias = node.args[2] if len(node.args) > 2 else None
        if bias is None:
            _put(network, node, _fitted(weight, mask, x, y).to(weight.dtype))
            return
        held = _of(network, bias).double().view(len(x), 1, -1)
        means = x.double().mean(1, keepdim=True), (y.double() - held).mean(1, keepdim=True)
        made = _fitted(weight, mask, x - means[0].float(), y - (held + means[1]).float())
        change = means[1] - means[0] @ made.view(len(x), -1, x.shape[2]).mT
        _put(network, node, made.to(weight.dtype))
        shifted = (held + change).flatten()
        set_tensor(network, str(bias.target), shifted.to(weight.dtype))  # type: ignore[union-attr]

    layer_by_layer(network, list(own), batches, solve)
    Zeros().prune(network, kept)
    return len(own)


def _is_fitted(network: GraphModule, layer: Layer) -> bool:
    node = layer.nodes[0]
    bias = node.args[2] if len(node.args) > 2 else None
    plain = bias is None or tensor_of(network, bias) is not None
    return op(node) in WEIGHTED and plain and layer.size // layer.shape[0] <= WIDEST


def _fitted(weight: Tensor, mask: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The weights that stay, float64, in the weight's shape."""
    shape = (len(x), len(weight) // len(x), -1)
    form = Quadratic.fit(weight.double().reshape(shape), x, y, DAMPING)
    free = mask.reshape(shape).double()
    made = descended(form.target, form.target @ form.hessian, form.hessian, free)
    return made.reshape(weight.shape)


def _of(network: GraphModule, node: object) -> Tensor:
    found = tensor_of(network, node)
    assert found is not None
    return found.detach()


def _put(network: GraphModule, node: Node, weight: Tensor) -> None:
    set_tensor(network, str(node.args[1].target), weight)  # type: ignore[union-attr]
