"""What bounds each layer on a device, and what each technique could win there at most.

The roofline says of a layer whether it computes, moves bytes, or merely costs its call (Williams, Waterman
and Patterson, 2009); what a technique leaves as it is bounds what it can win (Amdahl, 1967).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from netsuke.core.device import Device
from netsuke.core.layer import Layer
from netsuke.core.roofline import (
    compute_seconds,
    is_depthwise,
    layer_joules,
    layer_seconds,
    memory_seconds,
    model_seconds,
    warm,
)

Bound = Literal["compute", "memory", "call", "nothing"]
LIGHT = 2 / 3
"""Share of a layer's time from which one thing is said to bound it."""


@dataclass(frozen=True, kw_only=True)
class LayerBound:
    """One layer on one device, all of it estimated. bound: what most of its time goes to. seconds, share:
    of a call. joules: None where the device's energy is not known."""

    layer: Layer
    bound: Bound
    seconds: float
    share: float
    joules: float | None


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The most a technique can win on a device: times faster, and why no more; None where nothing."""

    technique: str
    faster: float | None
    reason: str


def bounds(layers: tuple[Layer, ...], device: Device) -> tuple[LayerBound, ...]:
    """Every layer with what bounds it, in order."""
    total, near = model_seconds(layers, device), warm(layers, device)
    return tuple(_bound(layer, near, total) for layer in layers)


def ceilings(layers: tuple[Layer, ...], device: Device) -> tuple[Ceiling, ...]:
    """What each technique could win at most, the most first."""
    found = (
        _numbers(layers, device, "int8", 8),
        _numbers(layers, device, "fp16", 16),
        _weights(layers, device),
        _narrower(layers, device),
        _zeros(layers, device),
    )
    return tuple(sorted(found, key=lambda c: -(c.faster or 0.0)))


def _bound(layer: Layer, device: Device, total: float) -> LayerBound:
    seconds = layer_seconds(layer, device)
    compute, memory = compute_seconds(layer, device), memory_seconds(layer, device)
    bound: Bound = "nothing"
    if seconds:
        bound = "compute" if compute >= memory else "memory"
        bound = "call" if max(compute, memory) < (1 - LIGHT) * seconds else bound
    return LayerBound(
        layer=layer, bound=bound, seconds=seconds, share=seconds / total if total else 0.0,
        joules=layer_joules(layer, device),
    )  # fmt: skip


def _numbers(layers: tuple[Layer, ...], device: Device, name: str, bits: int) -> Ceiling:
    """All numbers of a shorter format."""
    title = {"int8": "INT8 weights and activations", "fp16": "FP16 weights and activations"}[name]
    if name not in device.formats:
        return Ceiling(
            technique=title, faster=None,
            reason=f"{device.name} has no {name.upper()} kernels: bytes leave, time does not",
        )  # fmt: skip
    kind = "" if name == "int8" else name

    def shorter(n: Layer) -> Layer:
        return replace(n, weight_bits=bits, activation_bits=bits, format=kind)

    return _ceiling(title, layers, device, shorter, "a call costs as much")


def _weights(layers: tuple[Layer, ...], device: Device) -> Ceiling:
    """INT4 weights alone: the arithmetic stays, fewer bytes come."""

    def shorter(n: Layer) -> Layer:
        return replace(n, weights=round(n.weights / 8))

    return _ceiling(
        "INT4 weights alone", layers, device, shorter, "arithmetic and activations stay"
    )


def _narrower(layers: tuple[Layer, ...], device: Device) -> Ceiling:
    """Half of the channels of every layer that sums over channels."""

    def half(n: Layer) -> Layer:
        if not n.macs:
            return replace(n, inputs=n.inputs // 2, outputs=n.outputs // 2)
        both = 2 if is_depthwise(n) else 4
        return replace(
            n, macs=n.macs // both, weights=n.weights // both, inputs=n.inputs // 2, outputs=n.outputs // 2,
            channels=(-(-n.channels[0] // 2), -(-n.channels[1] // 2)),
            groups=-(-n.groups // 2) if is_depthwise(n) else n.groups,
        )  # fmt: skip

    return _ceiling(
        "half of the channels",
        layers,
        device,
        half,
        "a call costs as much, and kernels like full registers",
    )


def _zeros(layers: tuple[Layer, ...], device: Device) -> Ceiling:
    """Zeros that the kernels skip."""
    title = "zeros among the weights"
    if not device.sparse:
        return Ceiling(
            technique=title, faster=None,
            reason=f"{device.name} has no kernels that skip zeros: stored bytes leave, time does not",
        )  # fmt: skip
    pattern = device.sparse[0]
    share = 0.1 if pattern == "free" else int(pattern[0]) / int(pattern[2:])

    def skipped(n: Layer) -> Layer:
        return replace(n, macs=round(n.macs * share), weights=round(n.weights * share))

    said = "nine of ten weights" if pattern == "free" else f"{pattern}"
    return _ceiling(
        f"{title}, {said}", layers, device, skipped, "activations stay, and a call costs as much"
    )


def _ceiling(
    title: str,
    layers: tuple[Layer, ...],
    device: Device,
    after: Callable[[Layer], Layer],
    left: str,
) -> Ceiling:
    before, now = model_seconds(layers, device), model_seconds(tuple(map(after, layers)), device)
    return Ceiling(technique=title, faster=before / now if now else None, reason=left)


def shares(found: Iterable[LayerBound]) -> dict[Bound, float]:
    """The share of the time that each bound has."""
    sums: dict[Bound, float] = {}
    for one in found:
        if one.bound != "nothing":
            sums[one.bound] = sums.get(one.bound, 0.0) + one.share
    return dict(sorted(sums.items(), key=lambda item: -item[1]))
