"""How much a network suffers from few bits in one layer's weights, the rest in float."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.func import functional_call
from torch.fx import GraphModule

from netsuke.core.errors import NetsukeError
from netsuke.core.model import Model
from netsuke.core.scheme import Uniform
from netsuke.nets import graph
from netsuke.nets.distillation.losses import Loss
from netsuke.nets.macs import macs
from netsuke.nets.quantizers.calibrate import encode_weight
from netsuke.nets.quantizers.place import place
from netsuke.nets.quantizers.quantizer import BIAS_LIMIT, Encoding, quantize, quantizers
from netsuke.nets.quantizers.roles import WEIGHTED, op

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Site:
    """A weight that placement quantizes. weight: its parameter's name; layer: the user's module.

    elements: numbers in it. macs: multiply-accumulates with it, for one sample.
    """

    weight: str
    layer: str
    elements: int
    macs: int


def sites(model: Model) -> tuple[Site, ...]:
    """Every weight of a float model that placement would quantize, in order; a tied one once."""
    placed = place(model.network, model.example)
    shapes = graph.shapes(placed, tuple(t[:1] for t in model.example))
    found: dict[str, Site] = {}
    for q in quantizers(placed):
        if q.constant and q.limits[1] != BIAS_LIMIT:
            name, value = str(q.source.target), graph.tensor_of(placed, q.source)
            assert value is not None
            users = [u for u in q.node.users if op(u) in WEIGHTED]
            count = sum(macs(u, shapes, shapes[u.name]) for u in users)
            before = found[name].macs if name in found else 0
            place_name = graph.module_name(users[0]) if users else ""
            found[name] = Site(name, place_name or name, value.numel(), before + count)
    return tuple(found.values())


@dataclass(frozen=True)
class Rounded:
    """The weights of a network on grids of any width, rounded to the nearest: one scale a channel.

    network: BatchNorm folded, no quantizers. Only encodings are kept, so memory is that of one copy.
    """

    network: GraphModule
    encodings: dict[tuple[str, int], Encoding] = field(default_factory=dict)

    def weight(self, name: str, bits: int) -> Tensor:
        """The weight on its grid; the weight itself at 32 bits."""
        value = graph.tensor_of(self.network, name)
        assert value is not None
        value = value.detach()
        if bits == 32:
            return value
        scheme = Uniform(bits=bits, symmetric=True, axis=0)
        if (name, bits) not in self.encodings:
            self.encodings[name, bits] = encode_weight(value, scheme)
        made = self.encodings[name, bits]
        return quantize(value, made.scale, made.zero_point, *scheme.limits, scheme.axis)

    def at(self, bits: Mapping[str, int]) -> GraphModule:
        """A copy of the network with the named weights at so many bits."""
        other = graph.clone(self.network)
        for name, wanted in bits.items():
            graph.set_tensor(other, name, self.weight(name, wanted).clone())
        return other

    def noise(self, name: str, bits: int) -> float:
        """Sum of squares of what rounding changes."""
        value = graph.tensor_of(self.network, name)
        assert value is not None
        return float((self.weight(name, bits) - value.detach()).double().square().sum())


class Outputs:
    """The float network's outputs on some batches, and how far from them rounded weights lead."""

    def __init__(self, rounded: Rounded, batches: Sequence[Inputs]) -> None:
        self.rounded, self._batches = rounded, tuple(batches)
        if not self._batches:
            raise NetsukeError("sensitivity: there are no samples; give some dozens of inputs")
        self._float = list(self._run({}))

    def divergence(self, bits: Mapping[str, int], loss: Loss) -> float:
        """Mean of ``loss(outputs, float outputs)`` with the named weights at so many bits."""
        with torch.inference_mode():
            found = [
                float(loss(mine, theirs)) * _count(theirs)
                for mine, theirs in zip(self._run(bits), self._float, strict=True)
            ]
        return sum(found) / sum(_count(theirs) for theirs in self._float)

    def noise(self, bits: Mapping[str, int]) -> float:
        """Noise power over signal power of the outputs: ``10 ** (-SQNR / 10)``, SQNR in dB."""
        noise = signal = 0.0
        for mine, theirs in zip(self._run(bits), self._float, strict=True):
            for a, b in zip(_parts(mine), _parts(theirs), strict=True):
                noise += float((a.double() - b.double()).square().sum())
                signal += float(b.double().square().sum())
        return noise / signal if signal else 0.0

    def _run(self, bits: Mapping[str, int]) -> Iterator[Tensor | tuple[Tensor, ...]]:
        network = self.rounded.network
        weights = {name: self.rounded.weight(name, b) for name, b in bits.items()}
        mode = network.training
        network.eval()
        try:
            with torch.no_grad():
                for inputs in self._batches:
                    yield functional_call(network, weights, inputs)
        finally:
            network.train(mode)


def hessian_traces(
    network: GraphModule, names: Sequence[str], batches: Sequence[Inputs], loss: Loss,
    probes: int = 8, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Trace of the Hessian for each weight, of ``loss(outputs, the float network's own outputs)``.

    Hutchinson's estimator: the mean of vᵀHv over random signs v, ``probes`` of them a batch
    (HAWQ-V2: Dong et al., 2020, who take the loss on labels; here none are needed).
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {n: graph.tensor_of(network, n).detach().requires_grad_() for n in names}  # type: ignore[union-attr]
    found, samples = dict.fromkeys(names, 0.0), 0
    mode = network.training
    network.eval()
    try:
        for inputs in batches:
            count = len(inputs[0])
            samples += count
            output = functional_call(network, weights, inputs)
            target = _detached(output)
            slopes = torch.autograd.grad(
                loss(output, target), list(weights.values()), create_graph=True
            )
            for _ in range(probes):
                signs = [_signs(w, generator) for w in weights.values()]
                along = sum((g * v).sum() for g, v in zip(slopes, signs, strict=True))
                bends = torch.autograd.grad(along, list(weights.values()), retain_graph=True)  # type: ignore[arg-type]
                for name, v, hv in zip(names, signs, bends, strict=True):
                    found[name] += float((v * hv).sum().double()) * count / probes
    finally:
        network.train(mode)
    return {name: value / max(samples, 1) for name, value in found.items()}


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, like.shape, generator=generator).to(like.dtype).mul_(2).sub_(1)


def _parts(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (output,) if isinstance(output, Tensor) else tuple(output)


def _count(output: Tensor | tuple[Tensor, ...]) -> int:
    return len(_parts(output)[0])


def _detached(output: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    return output.detach() if isinstance(output, Tensor) else tuple(o.detach() for o in output)
