"""Bytes of a network's file and of its process, estimated from its layers.

The constants were fitted to what the exporter writes, and to what a process takes that runs it with
onnxruntime 1.31 on x86, over some forty architectures with random weights in FP32 and INT8. The figures of
``python -m bench advise`` are of networks none of which was among them.
"""

from collections.abc import Iterable

from netsuke.core.device import Device
from netsuke.core.layer import Layer
from netsuke.core.roofline import FREE, activation_peak, weight_bytes

HEADER, NODE, INTEGER_NODE = 50.0, 72.0, 15.0
"""Bytes of an exported graph, of each node, and of the codings around a node of integers."""
CODED_LAYER, CODED_CHANNEL, CAST = 290.0, 8.75, 30.0
"""Bytes of the nodes that decode a layer's weights, of a channel's scale and 32-bit bias, and of the cast of codes
of 4 bits."""
SESSION = 8e6
"""Bytes that a session takes for any model."""
COPIES = {"conv": 3.2, "linear": 1.9}
"""Times the weights of a layer are in memory once they are packed for kernels of floats; others once."""
INTEGER_COPIES = {"conv": 2.0, "linear": 1.9}
NODE_HELD, INTEGER_NODE_HELD = 7e3, 24e3
"""Bytes in memory for each node."""
ACTIVATION_COPIES = 1.9
ARENA = 1.2
"""RAM a microcontroller's interpreter takes over the peak of the activations, for its own structures beside
them (TensorFlow Lite Micro: David et al., 2021); assumed."""


def file_bytes(layers: Iterable[Layer]) -> float:
    """Estimated bytes of the exported file."""
    total = HEADER
    for layer in layers:
        total += _stored(layer)
        if layer.op in FREE:
            continue
        total += NODE + INTEGER_NODE * _is_coded(layer)
        if layer.weights and layer.weight_bits <= 8:
            total += CODED_LAYER + CODED_CHANNEL * layer.channels[1]
            total += CAST * (layer.weight_bits <= 4)
    return total


def memory_bytes(layers: tuple[Layer, ...], device: Device) -> float:
    """Estimated resident bytes that loading and running these layers adds to the bare runtime.

    The most of two moments: while the file is read, its largest tensor is there twice; later all weights
    are, as they came and as they are packed. A microcontroller reads its weights where they are stored, and holds
    the activations alone; an accelerator runs a compiled model that has each weight once.
    """
    activations = activation_peak(layers)
    if device.kind == "microcontroller":
        return ARENA * activations
    if device.kind == "accelerator":
        return sum(map(_held, layers)) + activations
    stored = [_stored(layer) for layer in layers]
    reading = sum(stored) + max(stored, default=0.0)
    packed = sum(_held(layer) * _copies(layer) for layer in layers)
    session = SESSION if device.session is None else device.session
    nodes = sum(NODE_HELD + INTEGER_NODE_HELD * _is_coded(n) for n in layers if n.op not in FREE)
    return session + max(reading, packed) + nodes + ACTIVATION_COPIES * activations


def _stored(layer: Layer) -> float:
    """Bytes of the weights in the file: a norm is folded into the layer before it, but for one value a
    channel; codes lie in 4 bits or in 8, beside integer activations in 2 too."""
    if layer.op == "batch_norm":
        return weight_bytes(layer) / 2
    widths = (2, 4, 8) if _is_coded(layer) else (4, 8)
    bits = next((b for b in widths if layer.weight_bits <= b), layer.weight_bits)
    return layer.weights * bits / 8


def _held(layer: Layer) -> float:
    """Bytes of the weights as kernels read them: integer kernels read bytes, however few bits are used."""
    bits = max(8, layer.weight_bits) if _is_coded(layer) else layer.weight_bits
    return _stored(layer) if layer.op == "batch_norm" else layer.weights * bits / 8


def _copies(layer: Layer) -> float:
    kind = "conv" if layer.op.startswith("conv") else layer.op
    return (INTEGER_COPIES if layer.weight_bits <= 8 else COPIES).get(kind, 1.0)


def _is_coded(layer: Layer) -> bool:
    return layer.activation_bits <= 8
