"""Outliers of a transformer's activations moved into the weights that read them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass, Range
from netsuke.nets import graph
from netsuke.nets.data import batches
from netsuke.nets.evaluation import evaluating
from netsuke.nets.graph import argument, set_tensor, tensor_of
from netsuke.nets.quantizers.place import is_quantized
from netsuke.nets.quantizers.roles import op

BATCH = 32
LEAST = 1e-5


@dataclass(frozen=True)
class _Site:
    """A LayerNorm and the linear layers that alone read it."""

    norm: Node
    readers: tuple[Node, ...]


@dataclass(frozen=True, kw_only=True)
class Smooth(Pass):
    """SmoothQuant (Xiao et al., 2023): each channel behind a LayerNorm is divided by a factor, and
    the linear layers that read it make up for that. The function stays what it is.

    alpha: how much of a channel's range moves into the weights; at 0.5 both share it. samples: at
    most so many calibration samples, without labels.
    """

    name: ClassVar[str] = "quantize.smooth"

    alpha: Annotated[float, Range(0, 1)] = 0.5
    samples: Annotated[int, Range(1, 100_000)] = 500

    @property
    def asks_device(self) -> bool:
        """The same codes for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Quantized models, and those without a LayerNorm that only linear layers read."""
        if is_quantized(model.network):
            return "the model is quantized already; smooth it before"
        sites, left = _sites(model.network)
        return None if sites else "; ".join(left) or "it has no LayerNorm with weights"

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError where a channel is NaN or infinite, or there is no sample."""
        network = graph.clone(model.network)
        sites, left = _sites(network)
        seen = self._observed(network, sites, model, goal)
        with torch.no_grad():
            for site in sites:
                _move(network, site, seen[site.norm], self.alpha)
        spread = max((_spread(reach) for reach in seen.values()), default=1.0)
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=f"{len(sites)} LayerNorms; their channels' ranges differed by up to {spread:.3g}x",
            notes=tuple(left),
        )
        return model.then(graph.rebuilt(network), step)

    def remedies(self) -> tuple[Pass, ...]:
        """More of the range in the weights, then less."""
        return tuple(Smooth(alpha=a, samples=self.samples) for a in (0.75, 0.25) if a != self.alpha)

    def _observed(
        self, network: GraphModule, sites: list[_Site], model: Model, goal: Goal
    ) -> dict[Node, Tensor]:
        """The largest magnitude of each channel behind each LayerNorm."""
        watcher, count = _Watcher(network, {s.norm for s in sites}), 0
        with evaluating(network):
            stream = goal.data.calibrate
            for inputs, _ in goal.track(batches(stream, BATCH, example=model.example), "smoothing"):
                watcher.run(*(x[: self.samples - count] for x in inputs))
                count += len(inputs[0])
                if count >= self.samples:
                    break
        if not count:
            raise NetsukeError("calibrate: there are no samples; give some hundred inputs")
        return watcher.seen


class _Watcher(Interpreter):
    def __init__(self, network: GraphModule, wanted: set[Node]) -> None:
        super().__init__(network)
        self.wanted = wanted
        self.seen: dict[Node, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if n in self.wanted:
            reach = value.abs().flatten(0, -2).amax(0).double()
            if not bool(torch.isfinite(reach).all()):
                raise NetsukeError(
                    f"calibrate: NaN or infinite values at {graph.where(n)}; mend the samples"
                )
            self.seen[n] = torch.maximum(self.seen.get(n, reach), reach)
        return value


def _sites(network: GraphModule) -> tuple[list[_Site], list[str]]:
    """LayerNorms to smooth, and why others are left alone."""
    sites, left = [], []
    for node in network.graph.nodes:
        if op(node) != "layer_norm" or len(argument(node, "normalized_shape")) != 1:
            continue
        readers = tuple(node.users)
        if not _owned(network, node):
            left.append(f"left as it is: {graph.where(node)} has no weight of its own")
        elif not all(op(r) == "linear" and r.args[0] is node for r in readers):
            other = next(r for r in readers if op(r) != "linear")
            left.append(
                f"left as it is: {graph.where(node)} is read by {op(other) or other.op} too"
            )
        elif not all(_owned(network, r) for r in readers):
            left.append(f"left as it is: a layer behind {graph.where(node)} shares its weight")
        else:
            sites.append(_Site(node, readers))
    return sites, left


def _owned(network: GraphModule, node: Node) -> bool:
    """Whether the node's weight is a parameter that nothing else reads."""
    weight = argument(node, "weight")
    if tensor_of(network, weight) is None:
        return False
    same = (n for n in network.graph.nodes if n.op == "get_attr" and n.target == weight.target)
    return sum(len(n.users) for n in same) == 1


def _move(network: GraphModule, site: _Site, reach: Tensor, alpha: float) -> None:
    """Divide the LayerNorm's channels, multiply what reads them."""
    weights = [w for _, w in _weights(network, site)]
    largest = torch.stack([w.detach().double().abs().amax(0) for w in weights]).amax(0)
    factor = reach**alpha / largest ** (1 - alpha)
    usable = torch.isfinite(factor) & (reach > LEAST) & (largest > LEAST)
    factor = torch.where(usable, factor, 1.0)
    for name in ("weight", "bias"):
        node = argument(site.norm, name)
        tensor = tensor_of(network, node)
        if tensor is not None:
            set_tensor(network, node.target, (tensor.double() / factor).to(tensor.dtype))
    for node, weight in _weights(network, site):
        set_tensor(network, str(node.target), (weight.double() * factor).to(weight.dtype))


def _weights(network: GraphModule, site: _Site) -> Iterator[tuple[Node, Tensor]]:
    for reader in site.readers:
        node = argument(reader, "weight")
        weight = tensor_of(network, node)
        assert weight is not None
        yield node, weight


def _spread(reach: Tensor) -> float:
    """The widest channel over the middle one."""
    return float(reach.max() / reach.median().clamp(min=LEAST))
