"""Whether a device has what a model needs: memory, storage, kernels for its numbers, energy."""

from dataclasses import dataclass
from typing import Literal

from netsuke.core.device import Device
from netsuke.core.footprint import file_bytes, memory_bytes
from netsuke.core.layer import Layer
from netsuke.core.quantity import show
from netsuke.core.roofline import model_joules, model_seconds
from netsuke.probes.estimate import ENERGY_SPREAD

Outcome = Literal["ok", "short", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Need:
    """One thing a model needs. outcome: "ok", "short", or "unknown" where the device does not say."""

    what: str
    outcome: Outcome
    reason: str


def readiness(layers: tuple[Layer, ...], device: Device) -> tuple[Need, ...]:
    """What a model with these layers needs, against what the device has. All of it is estimated."""
    return (
        _room("storage", file_bytes(layers), device.storage, "the file"),
        _room("memory", memory_bytes(layers, device), device.memory, _held(device)),
        _kernels(layers, device),
        _energy(layers, device),
    )


def _held(device: Device) -> str:
    if device.kind == "microcontroller":
        return "the activations that live at once; weights stay in flash"
    if device.kind == "accelerator":
        return "the weights, and the activations that live at once"
    return "weights as the runtime packs them, and the activations that live at once"


def _room(what: str, needed: float, has: float, of: str) -> Need:
    said = f"{show(needed, 'B')} for {of}; it has {show(has, 'B')}"
    return Need(what=what, outcome="ok" if needed <= has else "short", reason=said)


def _kernels(layers: tuple[Layer, ...], device: Device) -> Need:
    """By the multiply-accumulates that have no kernels of their own."""
    work: dict[str, int] = {}
    for layer in layers:
        if layer.macs:
            words = _computed(layer, device)
            work[words] = work.get(words, 0) + layer.macs
    total = sum(work.values())
    said = ", ".join(f"{100 * n / total:.0f} % of the MACs in {words}" for words, n in work.items())
    outcome: Outcome = "ok" if all(words.endswith("natively") for words in work) else "short"
    return Need(what="kernels", outcome=outcome, reason=said or "it multiplies nothing")


def _computed(layer: Layer, device: Device) -> str:
    """The format of a layer's arithmetic, and how the device comes by it."""
    integer = max(layer.weight_bits, layer.activation_bits) <= 8
    kind = layer.format or ("int8" if integer else "fp32")
    if kind in device.fallback:
        return f"{kind.upper()} on another processor"
    return f"{kind.upper()} natively" if kind in device.formats else f"{kind.upper()} as FP32"


def _energy(layers: tuple[Layer, ...], device: Device) -> Need:
    joules = model_joules(layers, device)
    if joules is None:
        return Need(
            what="energy", outcome="unknown", reason=f"{device.name} does not say what it takes"
        )
    low, high = joules / ENERGY_SPREAD, joules * ENERGY_SPREAD
    said = f"{show(joules, 'J')} an inference, {show(low, 'J')} … {show(high, 'J')}"
    if "idle" in device.power:
        seconds = model_seconds(layers, device)
        idle = show(device.power["idle"] * seconds, "J")
        said += f"; being on for its {show(seconds, 's')} takes {idle} more"
    return Need(what="energy", outcome="ok", reason=said)
