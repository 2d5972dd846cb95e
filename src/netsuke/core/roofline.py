"""Seconds and bytes of a network on a device, estimated from its layers and the device's facts.

A roofline (Williams, Waterman and Patterson, 2009) as small networks need it: channels are padded to what
the kernels work on at a time, every executed node costs a fixed time, and computing and moving bytes add up,
for the kernels of one call are too short to do both at once. What comes out is an estimate, and whoever
shows it must say so.
"""

from collections.abc import Iterable
from dataclasses import replace

from netsuke.core.device import Device
from netsuke.core.layer import Layer

# What a runtime folds into the operation before it, or answers with another view of the same bytes.
FREE = frozenset({
    "alias", "batch_norm", "clamp", "clamp_max", "clamp_min", "clone", "contiguous", "detach",
    "dropout", "expand", "expand_as", "feature_dropout", "flatten", "getitem", "hardtanh",
    "identity", "quantize", "relu", "relu6", "reshape", "squeeze", "to", "unflatten", "unsqueeze",
    "view", "view_as",
})  # fmt: skip
# Looking a row up reads that row, not the table.
LOOKUPS = frozenset({"embedding", "embedding_bag", "gather", "index_select", "index"})
# A depthwise kernel loads an operand for every product. Measured on x86 (onnxruntime 1.31, FP32) it
# reaches half of a dense kernel's rate; MobileNets on a Cortex-A72 (see pi4.toml) fit a quarter. Only for
# devices whose depthwise kernels were not measured.
DEPTHWISE_SHARE = 0.3
CODINGS, LAYOUTS = 2, 2
# Dimensions this small (an image's colours) have kernels of their own and are not padded.
NARROW = 4


def model_seconds(layers: tuple[Layer, ...], device: Device) -> float:
    """Estimated seconds of one call of many, batch 1, one thread."""
    near = warm(layers, device)
    return device.call + _ends(layers, device) + sum(layer_seconds(n, near) for n in layers)


def _ends(layers: tuple[Layer, ...], device: Device) -> float:
    """Floats are coded on the way in, and codes are decoded on the way out; kernels of integers want channels
    innermost, so that pictures are laid out anew, and back."""
    integers = [layer for layer in layers if is_integer(layer, device)]
    if not integers:
        return 0.0
    pictures = any(layer.op.startswith("conv") for layer in integers)
    return (CODINGS + LAYOUTS * pictures) * device.overhead


def warm(layers: Iterable[Layer], device: Device) -> Device:
    """The device as it is between two calls of such a model: what fits its cache comes from there."""
    each = tuple(layers)
    if not device.cache or sum(map(weight_bytes, each)) + activation_peak(each) > device.cache:
        return device
    return replace(device, bandwidth=device.cache_bandwidth)


def layer_seconds(layer: Layer, device: Device) -> float:
    """Estimated seconds of one layer: computing, moving bytes, and the fixed cost.

    Operations that a runtime fuses or answers with a view cost nothing.
    """
    if layer.op.removesuffix("_") in FREE:
        return 0.0
    return compute_seconds(layer, device) + memory_seconds(layer, device) + device.overhead


def compute_seconds(layer: Layer, device: Device) -> float:
    """Estimated seconds of a layer's multiply-accumulates, and where they are of integers of laying out what comes
    in, once for each place of a kernel that reads it (im2col: Chellapilla et al., 2006), and rounding what goes
    out. Rates of depthwise kernels hold that already."""
    seconds = padded_macs(layer, device.kernel_width) / _rate(layer, device)
    if device.coding and is_integer(layer, device) and not is_depthwise(layer):
        seconds += (_laid_out(layer) + layer.outputs) / device.coding
    return seconds


def memory_seconds(layer: Layer, device: Device) -> float:
    """Estimated seconds until a layer's bytes are read and written."""
    return layer_bytes(layer) / device.bandwidth


def model_joules(layers: tuple[Layer, ...], device: Device) -> float | None:
    """Estimated joules of one call, batch 1; None where the device's energy is not known."""
    found = [layer_joules(layer, device) for layer in layers]
    return None if not found or None in found else sum(j for j in found if j is not None)


def layer_joules(layer: Layer, device: Device) -> float | None:
    """Estimated joules of one layer: its multiply-accumulates, and its bytes from main memory (Horowitz,
    2014). None where the device's energy is not known."""
    energy = device.energy
    if "fp32" not in energy or "byte" not in energy:
        return None
    if layer.op.removesuffix("_") in FREE:
        return 0.0
    kind = "int8" if is_integer(layer, device) else layer.format
    return layer.macs * energy.get(kind, energy["fp32"]) + layer_bytes(layer) * energy["byte"]


def padded_macs(layer: Layer, width: int) -> float:
    """Multiply-accumulates as executed, channels filled up to multiples of ``width``."""
    into, out = (c // max(1, layer.groups) for c in layer.channels)
    if not into or not out:
        return float(layer.macs)
    if is_depthwise(layer):
        return layer.macs * _padding(layer.channels[1], width)
    return layer.macs * _padding(into, width) * _padding(out, width)


def is_depthwise(layer: Layer) -> bool:
    """True where every group has one input channel."""
    return layer.groups > 1 and layer.groups == layer.channels[0]


def is_integer(layer: Layer, device: Device) -> bool:
    """True where weights and activations are integers that fit the device's integer kernels."""
    fit = max(layer.weight_bits, layer.activation_bits) <= 8 and not layer.format
    return fit and "int8" in device.formats


def layer_bytes(layer: Layer) -> float:
    """Bytes one call of the layer reads and writes."""
    if layer.op in LOOKUPS:
        return (layer.inputs + 2 * layer.outputs) * layer.activation_bits / 8
    return weight_bytes(layer) + (layer.inputs + layer.outputs) * layer.activation_bits / 8


def weight_bytes(layer: Layer) -> float:
    """Bytes of the layer's parameters."""
    return layer.weights * layer.weight_bits / 8


def activation_peak(layers: tuple[Layer, ...]) -> float:
    """Bytes of the activations that live at once, where they are most; those of other branches are
    taken to be as wide as the layer's."""
    return max(
        (max(n.alive, n.inputs + n.outputs) * n.activation_bits / 8 for n in layers), default=0.0
    )


def _rate(layer: Layer, device: Device) -> float:
    kind = "int8" if is_integer(layer, device) else layer.format
    rate = device.formats.get(kind, device.formats["fp32"])
    return (
        device.depthwise.get(kind or "fp32", rate * DEPTHWISE_SHARE)
        if is_depthwise(layer)
        else rate
    )


def _laid_out(layer: Layer) -> float:
    """Values that a kernel of integers reads, each as often as it is used for other places."""
    out = layer.channels[1]
    return layer.macs / out * max(1, layer.groups) if layer.macs and out else layer.inputs


def _padding(channels: int, width: int) -> float:
    if channels <= NARROW:
        return 1.0
    return -(-channels // width) * width / channels
