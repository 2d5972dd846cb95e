"""What quantization does to each part of a network, measured beside the part's own float values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node, map_arg

from netsuke.nets import graph
from netsuke.nets.distillation.losses import Loss
from netsuke.nets.quantizers.parts import Part, constant, parts, rounds
from netsuke.nets.quantizers.quantizer import Quantizer, read
from netsuke.nets.quantizers.roles import op

Inputs = tuple[Tensor, ...]
DRAWN = 4096
"""Values of each batch that the percentile is taken of."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was found out about one part.

    own_sqnr: of its own error, from float inputs; sqnr: of the error it has accumulated; dB, None
    where there is no error. low, high: of its float values; encoded: what its quantizer spans. outlier:
    largest magnitude over the 99.9th percentile. channels: largest magnitude in each channel; weights:
    the same of its weight. inputs, columns: largest magnitude of what it reads and of the weights that
    read it, by input channel; empty for grouped layers. step, weight_step: the size of a quantization
    step, None where each channel has its own; column_step: the mean of the weight's. saturated: share of values beyond the range; clipping: their share of the
    noise. harm: divergence of the network's outputs with this part alone quantized; share: of the sum
    over all parts.
    """

    name: str
    op: str
    source: str
    depthwise: bool
    weight_bits: int
    activation_bits: int
    own_sqnr: float | None
    sqnr: float | None
    low: float
    high: float
    encoded: tuple[float, float] | None
    outlier: float
    channels: tuple[float, ...]
    weights: tuple[float, ...]
    inputs: tuple[float, ...]
    columns: tuple[float, ...]
    step: float | None
    weight_step: float | None
    column_step: float
    saturated: float
    clipping: float
    harm: float
    share: float = 0.0


def diagnose(
    network: GraphModule, floats: Mapping[str, Tensor], batches: Sequence[Inputs], loss: Loss
) -> tuple[Facts, ...]:
    """Facts about every part of a quantized network, on some batches.

    floats: parameters by name as they were before they were rounded; what is missing or of another
    shape is taken from the network. loss: of outputs against the float network's.
    """
    split = parts(network)
    seen = {part: _Seen() for part in split}
    mode = network.training
    network.eval()
    try:
        with torch.inference_mode():
            expected = [_look(network, floats, split, seen, batch) for batch in batches]
            harms = [_harm(network, floats, p, batches, expected, loss) for p in split]
    finally:
        network.train(mode)
    whole = sum(max(h, 0.0) for h in harms) or 1.0
    return tuple(
        _facts(network, p, seen[p], h, max(h, 0.0) / whole)
        for p, h in zip(split, harms, strict=True)
    )


class _Run(Interpreter):
    """Runs the network with some of its quantizers on; constants whose quantizer is off are floats."""

    def __init__(
        self, network: GraphModule, floats: Mapping[str, Tensor], on: frozenset[Node] | None
    ) -> None:
        super().__init__(network)
        self._floats, self._on = floats, on
        self.kept: dict[Node, Tensor] = {}
        self.keep: frozenset[Node] = frozenset()

    def run_node(self, n: Node) -> Any:
        off = rounds(n) and self._on is not None and n not in self._on
        result = self._float(n) if off else super().run_node(n)
        if n in self.keep:
            self.kept[n] = result
        return result

    def _float(self, n: Node) -> Tensor:
        source = n.all_input_nodes[0]
        value: Tensor = self.env[source]
        known = self._floats.get(str(source.target)) if constant(n) else None
        return value if known is None or known.shape != value.shape else known


class _Own(_Run):
    """Runs in float; beside it, each part quantized on its float inputs."""

    def __init__(
        self, network: GraphModule, floats: Mapping[str, Tensor], split: tuple[Part, ...]
    ) -> None:
        super().__init__(network, floats, frozenset())
        self._of = {node: part for part in split for node in part.chain}
        self.own: dict[Node, Tensor] = {}
        self.rounded: dict[Node, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if rounds(n) and constant(n):
            self.rounded[n] = Interpreter.run_node(self, n)
        elif n in self._of:
            part = self._of[n]

            def given(a: Node) -> Any:
                if a in part.chain:
                    return self.own[a]
                return self.rounded[a] if a in part.constants else self.env[a]

            args, kwargs = map_arg(n.args, given), map_arg(n.kwargs, given)
            self.own[n] = n.target(*args, **kwargs)  # type: ignore[operator]
        return result


@dataclass
class _Seen:
    """Sums over batches."""

    signal: float = 0.0
    own: float = 0.0
    all: float = 0.0
    clipped: float = 0.0
    beyond: int = 0
    count: int = 0
    low: float = 0.0
    high: float = 0.0
    channels: Tensor = field(default_factory=lambda: torch.zeros(0))
    inputs: Tensor = field(default_factory=lambda: torch.zeros(0))
    drawn: list[Tensor] = field(default_factory=list)


def _look(
    network: GraphModule, floats: Mapping[str, Tensor], split: tuple[Part, ...],
    seen: dict[Part, _Seen], batch: Inputs,
) -> Any:  # fmt: skip
    """One batch added to what was seen; gives the float network's outputs."""
    quantized, beside = _Run(network, floats, None), _Own(network, floats, split)
    quantized.keep = frozenset(p.out for p in split)
    beside.keep = quantized.keep | {p.head.all_input_nodes[0] for p in split}
    quantized.run(*batch)
    expected = beside.run(*batch)
    for part in split:
        x, got, own = beside.kept[part.out], quantized.kept[part.out], beside.own[part.out]
        axis = _channel_axis(part, x)
        _add(seen[part], x, (own, got), axis)
        if part.weight:
            given = beside.kept[part.head.all_input_nodes[0]]
            seen[part].inputs = _largest(seen[part].inputs, given, axis if axis == 1 else -1)
        if part.activation:
            _add_clipped(seen[part], x, _span(network, part.activation))
    return expected


def _add(s: _Seen, x: Tensor, others: tuple[Tensor, Tensor], axis: int) -> None:
    s.signal += float(x.double().square().sum())
    s.own += float((others[0] - x).double().square().sum())
    s.all += float((others[1] - x).double().square().sum())
    s.low, s.high = min(s.low, float(x.min())), max(s.high, float(x.max()))
    s.channels = _largest(s.channels, x, axis)
    flat = x.flatten().abs()
    s.drawn.append(flat[:: max(1, len(flat) // DRAWN)].float())
    s.count += x.numel()


def _largest(before: Tensor, x: Tensor, axis: int) -> Tensor:
    reach = x.movedim(axis, 0).flatten(1).abs().amax(1)
    return reach if len(before) == 0 else torch.maximum(before, reach)


def _add_clipped(s: _Seen, x: Tensor, span: tuple[float, float, float]) -> None:
    low, high, step = span
    s.beyond += int(((x < low - step / 2) | (x > high + step / 2)).sum())
    s.clipped += float((x - x.clamp(low, high)).double().square().sum())


def _harm(
    network: GraphModule, floats: Mapping[str, Tensor], part: Part, batches: Sequence[Inputs],
    expected: Sequence[Any], loss: Loss,
) -> float:  # fmt: skip
    """Divergence with this part alone quantized."""
    run = _Run(network, floats, part.quantizers)
    total = sum(
        float(loss(run.run(*b), e)) * len(b[0]) for b, e in zip(batches, expected, strict=True)
    )
    return total / sum(len(b[0]) for b in batches)


def _span(network: GraphModule, q: Quantizer) -> tuple[float, float, float]:
    """The least and largest value an activation's quantizer gives, and its step."""
    made = read(network, q.key)
    scale, zero = float(made.scale.max()), float(made.zero_point.double().mean())
    return (q.limits[0] - zero) * scale, (q.limits[1] - zero) * scale, scale


def _channel_axis(part: Part, x: Tensor) -> int:
    return 1 if x.dim() >= 3 and op(part.head) != "linear" else x.dim() - 1


def _facts(network: GraphModule, part: Part, s: _Seen, harm: float, share: float) -> Facts:
    weight, activation = part.weight, part.activation
    span = _span(network, activation) if activation else None
    drawn = torch.cat(s.drawn)
    usual = float(drawn.quantile(0.999)) if len(drawn) else 0.0
    largest = max(-s.low, s.high)
    depthwise = int(graph.argument(part.head, "groups", 1) or 1) > 1
    return Facts(
        name=part.name,
        op=op(part.head) if not rounds(part.head) else op(part.head.all_input_nodes[0]),
        source=graph.source(part.head),
        depthwise=depthwise,
        weight_bits=weight.bits if weight else 32,
        activation_bits=activation.bits if activation else 32,
        own_sqnr=_decibels(s.signal, s.own),
        sqnr=_decibels(s.signal, s.all),
        low=s.low,
        high=s.high,
        encoded=span[:2] if span else None,
        outlier=largest / usual if usual else (1.0 if largest == 0 else math.inf),
        channels=tuple(s.channels.tolist()),
        weights=_reaches(network, weight, 0) if weight else (),
        inputs=tuple(s.inputs.tolist()),
        columns=_reaches(network, weight, 1) if weight and not depthwise else (),
        step=span[2] if span else None,
        weight_step=_weight_step(network, weight) if weight else None,
        column_step=float(read(network, weight.key).scale.mean()) if weight else 0.0,
        saturated=s.beyond / max(s.count, 1),
        clipping=s.clipped / s.own if s.own else 0.0,
        harm=harm,
        share=share,
    )


def _reaches(network: GraphModule, q: Quantizer, axis: int) -> tuple[float, ...]:
    value = graph.tensor_of(network, q.source)
    assert value is not None
    return tuple(value.detach().movedim(axis, 0).flatten(1).abs().amax(1).tolist())


def _weight_step(network: GraphModule, q: Quantizer) -> float | None:
    scale = read(network, q.key).scale
    return float(scale) if scale.numel() == 1 else None


def _decibels(signal: float, noise: float) -> float | None:
    """SQNR; None where nothing is lost."""
    if noise == 0:
        return None
    return 10 * math.log10(max(signal, 1e-300) / noise)
