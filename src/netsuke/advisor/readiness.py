"""Whether a device has what a model needs: memory, storage, kernels for its numbers, energy."""

from dataclasses import dataclass
from typing import Literal

from netsuke.core.device import Device
from netsuke.core.layer import Layer
from netsuke.core.quantity import show
from netsuke.core.roofline import (
    activation_peak,
    is_integer,
    model_joules,
    model_seconds,
    weight_bytes,
)
from netsuke.probes.estimate import SPREAD, memory_bytes

NODE_BYTES, FILE_BYTES = 180, 1500
"""An exported graph's own bytes (names, shapes, scales), read off the exporter's files."""
ARENA = 1.2
"""RAM a microcontroller's interpreter takes, over the peak of the activations: TensorFlow Lite Micro keeps
its own structures beside them (David et al., 2021); taken, not measured here."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """One thing a model needs. outcome: "ok", "short", or "unknown" where the device does not say."""

    what: str
    outcome: Literal["ok", "short", "unknown"]
    reason: str


def readiness(layers: tuple[Layer, ...], device: Device) -> tuple[Need, ...]:
    """What a model with these layers needs, against what the device has. All of it is estimated."""
    return (
        _room("storage", file_bytes(layers), device.storage, "the file"),
        _room("memory", resident_bytes(layers, device), device.memory, _held(device)),
        _kernels(layers, device),
        _energy(layers, device),
    )


def file_bytes(layers: tuple[Layer, ...]) -> float:
    """Estimated bytes of the exported file."""
    return sum(map(weight_bytes, layers)) + FILE_BYTES + NODE_BYTES * len(layers)


def resident_bytes(layers: tuple[Layer, ...], device: Device) -> float:
    """Estimated bytes of RAM. A microcontroller reads its weights where they are stored."""
    if device.kind == "microcontroller":
        return ARENA * activation_peak(layers)
    return memory_bytes(layers)


def _held(device: Device) -> str:
    if device.kind == "microcontroller":
        return "the activations that live at once; weights stay in flash"
    return "weights as the runtime packs them, and the activations that live at once"


def _room(what: str, needed: float, has: float, of: str) -> Need:
    said = f"{show(needed, 'B')} for {of}; it has {show(has, 'B')}"
    return Need(what=what, outcome="ok" if needed <= has else "short", reason=said)


def _kernels(layers: tuple[Layer, ...], device: Device) -> Need:
    """By the multiply-accumulates that have no kernels of their own."""
    wanted: dict[str, int] = {}
    for layer in layers:
        if layer.macs:
            kind = layer.format or (
                "int8" if max(layer.weight_bits, layer.activation_bits) <= 8 else "fp32"
            )
            known = kind in device.formats and (kind != "int8" or is_integer(layer, device))
            wanted[f"{kind} {'natively' if known else 'as fp32'}"] = (
                wanted.get(f"{kind} {'natively' if known else 'as fp32'}", 0) + layer.macs
            )
    total = sum(wanted.values())
    said = ", ".join(f"{100 * n / total:.0f} % of the MACs {kind}" for kind, n in wanted.items())
    lacks = any(kind.endswith("as fp32") for kind in wanted)
    return Need(
        what="kernels", outcome="short" if lacks else "ok", reason=said or "it multiplies nothing"
    )


def _energy(layers: tuple[Layer, ...], device: Device) -> Need:
    joules = model_joules(layers, device)
    if joules is None:
        return Need(
            what="energy", outcome="unknown", reason=f"{device.name} does not say what it takes"
        )
    low, high = joules / SPREAD, joules * SPREAD
    said = f"{show(joules, 'J')} an inference, {show(low, 'J')} … {show(high, 'J')}"
    idle = device.power.get("idle")
    if idle:
        said += f"; being on for its {show(model_seconds(layers, device), 's')} takes {show(idle * model_seconds(layers, device), 'J')}"
    return Need(what="energy", outcome="ok", reason=said)
