"""Ranges of channels made equal across layers, so that one scale a tensor suits them all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass
from netsuke.nets import graph
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.graph import argument, set_tensor, tensor_of
from netsuke.nets.quantizers.place import is_quantized
from netsuke.nets.quantizers.roles import WEIGHTED, clips, op

SWEEPS = 100
CLOSE = 1e-3
"""Sweeps end when no factor is further from 1."""
SCALES = frozenset({
    "relu", "leaky_relu", "dropout", "feature_dropout", "alias", "contiguous", "clone", "detach",
    "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d",
    "adaptive_avg_pool2d", "adaptive_max_pool2d",
})  # fmt: skip
"""Act on each channel apart, and a positive factor passes through them."""
FLATTENS = frozenset({"flatten", "view", "reshape", "squeeze", "mean"})
"""Do so too where a linear layer reads as many features as there were channels."""


@dataclass(frozen=True)
class _Pair:
    """Two layers in a row, and the clips at a fixed value between them."""

    first: Node
    second: Node
    fixed: tuple[Node, ...]


@dataclass(frozen=True, kw_only=True)
class Equalize(Pass):
    """Cross-layer equalization (Nagel et al., 2019): factors move from channel to channel between
    layers in a row until both have the same ranges. The function stays what it is; no data is read.

    clips: what to do where ReLU6 or another fixed limit stands between, which a factor cannot pass:
    "keep" leaves such a pair as it is, "relu" makes it a ReLU, which changes the function where the
    limit was reached, as the paper does.
    """

    name: ClassVar[str] = "quantize.equalize"

    clips: Literal["keep", "relu"] = "keep"

    @property
    def asks_device(self) -> bool:
        """The same codes for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Quantized models, and those without two layers in a row."""
        if is_quantized(model.network):
            return "the model is quantized already; equalize it before"
        pairs, blocked = _sorted(fold_batchnorm(model.network), self.clips)
        if pairs:
            return None
        return "; ".join(blocked) or "no layer has its output read by one other layer alone"

    def apply(self, model: Model, goal: Goal) -> Model:
        """Folds BatchNorm, then equalizes every pair; ``notes`` name those that a clip keeps apart."""
        network = fold_batchnorm(model.network)
        pairs, blocked = _sorted(network, self.clips)
        for pair in pairs:
            for clip in pair.fixed:
                _open(network, clip)
        before = max((_unevenness(network, p) for p in pairs), default=1.0)
        with torch.no_grad():
            _equalize(network, pairs)
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"{len(pairs)} pairs of layers; ranges of channels differed by up to {before:.3g}x",
            notes=tuple(blocked),
        )
        return model.then(graph.rebuilt(network), step)

    def remedies(self) -> tuple[Pass, ...]:
        """Without giving up the clips, where they were given up."""
        return (Equalize(),) if self.clips == "relu" else ()


def _sorted(network: GraphModule, wanted: str) -> tuple[list[_Pair], list[str]]:
    """Pairs to equalize, and why others are left alone."""
    pairs, blocked = [], []
    for pair in _pairs(network):
        if wanted == "keep" and pair.fixed:
            clip = pair.fixed[0]
            both = f"{graph.where(pair.first)} and {graph.where(pair.second)}"
            blocked.append(
                f'left as they are: {both} have {op(clip)} between; clips = "relu" drops it'
            )
        else:
            pairs.append(pair)
    return pairs, blocked


def _pairs(network: GraphModule) -> Iterator[_Pair]:
    for node in network.graph.nodes:
        if not _is_free(network, node):
            continue
        fixed: list[Node] = []
        at, flat = node, False
        while len(at.users) == 1:
            at = next(iter(at.users))
            name = op(at)
            if name in WEIGHTED:
                if _fits(network, node, at, flat):
                    yield _Pair(node, at, tuple(fixed))
                break
            if clips(at) and name != "relu":
                if argument(at, "min", argument(at, "min_val", 0)) not in (0, None):
                    break
                fixed.append(at)
            elif name in FLATTENS:
                flat = True
            elif name not in SCALES:
                break


def _is_free(network: GraphModule, node: Node) -> bool:
    """Whether the node is a layer whose weight and bias are its own parameters."""
    if op(node) not in WEIGHTED:
        return False
    given = [n for n in node.args[1:3] if isinstance(n, Node)]
    return bool(given) and all(
        tensor_of(network, n) is not None
        and sum(len(m.users) for m in network.graph.nodes
                if m.op == "get_attr" and m.target == n.target) == 1
        for n in given
    )  # fmt: skip


def _fits(network: GraphModule, first: Node, second: Node, flat: bool) -> bool:
    """Whether the second's input channels are the first's outputs, one for one."""
    if not _is_free(network, second):
        return False
    weight = tensor_of(network, second.args[1])
    outputs = tensor_of(network, first.args[1])
    assert weight is not None
    assert outputs is not None
    if (op(first) == "linear") != (op(second) == "linear") and not flat:
        return False
    return weight.shape[1] * int(argument(second, "groups", 1)) == len(outputs)


def _equalize(network: GraphModule, pairs: Sequence[_Pair]) -> None:
    """Both ranges become their geometric mean, pair after pair, until nothing moves."""
    for _ in range(SWEEPS):
        furthest = 0.0
        for pair in pairs:
            first, second = (_ranges(network, pair, side) for side in (0, 1))
            factor = (first / second).sqrt()
            usable = torch.isfinite(factor) & (factor > 0)
            factor = torch.where(usable, factor, 1.0)
            rescale(network, pair.first, 1 / factor, 0)
            rescale(network, pair.second, factor, 1)
            furthest = max(furthest, float((factor.log()).abs().max()))
        if furthest < CLOSE:
            return


def rescale(network: GraphModule, layer: Node, factor: Tensor, side: int) -> None:
    """Multiply a layer's output channels (side 0, the bias too) or input channels (1)."""
    for i, node in enumerate(n for n in layer.args[1:3] if isinstance(n, Node)):
        tensor = tensor_of(network, node)
        assert tensor is not None
        if side == 1 and i == 1:
            continue
        made = tensor.double() * _spread(layer, factor, tensor, side)
        set_tensor(network, str(node.target), made.to(tensor.dtype))


def _spread(layer: Node, factor: Tensor, tensor: Tensor, side: int) -> Tensor:
    """One factor a channel, shaped to multiply a weight or bias."""
    ones = [1] * (tensor.dim() - 2)
    if side == 0:
        return factor.view(-1, *[1] * (tensor.dim() - 1))
    groups = int(argument(layer, "groups", 1))
    by_group = factor.view(groups, 1, -1).expand(-1, len(tensor) // groups, -1)
    return by_group.reshape(len(tensor), -1, *ones)


def _ranges(network: GraphModule, pair: _Pair, side: int) -> Tensor:
    """The largest weight of each channel between the two: as an output (0) or an input (1)."""
    layer = (pair.first, pair.second)[side]
    weight = tensor_of(network, layer.args[1])
    assert weight is not None
    weight = weight.detach().double().abs().reshape(*weight.shape[:2], -1)
    if side == 0:
        return weight.amax((1, 2))
    groups = int(argument(layer, "groups", 1))
    return weight.view(groups, -1, *weight.shape[1:]).amax((1, 3)).flatten()


def _unevenness(network: GraphModule, pair: _Pair) -> float:
    """The largest range of the first layer's channels over the smallest that is not zero."""
    found = _ranges(network, pair, 0)
    found = found[found > 0]
    return float(found.max() / found.min()) if len(found) else 1.0


def _open(network: GraphModule, clip: Node) -> None:
    """A clip from 0 to a fixed value as a ReLU."""
    with network.graph.inserting_before(clip):
        opened = network.graph.call_function(torch.ops.aten.relu.default, (clip.args[0],))
    opened.meta = dict(clip.meta)
    clip.replace_all_uses_with(opened)
    network.graph.erase_node(clip)
