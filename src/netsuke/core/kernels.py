"""Single kernels as a device's table knows them: which one a layer runs, and between which to interpolate.

Half the multiply-accumulates are not half the time: kernels work on blocks of channels, and narrow ones
are slower. A table taken on the device knows by how much.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from netsuke.core.layer import Layer

EXACT, STEP = 64, 4
"""Up to this many channels a table has every multiple of the step; beyond, those of ``COARSE``."""
COARSE = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
Kind = Literal["conv", "depthwise", "linear"]
TINY = 4
"""An image's colours: as many as there are."""


@dataclass(frozen=True, order=True)
class Kernel:
    """A two-dimensional convolution or a linear layer. size: (high, wide) of its kernel; side: of its
    square output, for a linear layer the rows it is applied to. bits: of weights and activations, 32
    floats or 8 integers."""

    inputs: int
    outputs: int
    size: tuple[int, int]
    side: int
    kind: Kind = "conv"
    bits: int = 32

    def __str__(self) -> str:
        """``conv 3×3 16→32 at 16²``: what it is called in a record."""
        whole = "INT8 " if self.bits == 8 else ""
        if self.kind == "linear":
            return f"{whole}linear {self.inputs}→{self.outputs} of {self.side}"
        size = "×".join(map(str, self.size))
        return f"{whole}{self.kind} {size} {self.inputs}→{self.outputs} at {self.side}²"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one call."""
        inputs = 1 if self.kind == "depthwise" else self.inputs
        return self.values * inputs * self.size[0] * self.size[1]

    @property
    def values(self) -> int:
        """Elements of its output."""
        return self.outputs * self._positions

    @property
    def coded(self) -> int:
        """Elements that a kernel of integers lays out before it multiplies, and rounds afterwards."""
        return self.inputs * self._positions * self.size[0] * self.size[1] + self.values

    @property
    def _positions(self) -> int:
        return self.side if self.kind == "linear" else self.side**2


Measure = Callable[[Kernel], float | None]


def kernel_of(layer: Layer) -> Kernel | None:
    """The kernel a layer runs; None for what no table has: other operations, grouped convolutions."""
    inputs, outputs = layer.channels
    depthwise = layer.groups > 1 and layer.groups == inputs == outputs
    if layer.op == "linear" and outputs:
        return Kernel(inputs, outputs, (1, 1), layer.outputs // outputs, "linear")
    if layer.op != "conv2d" or not inputs or (layer.groups > 1 and not depthwise):
        return None
    taps = layer.macs / max(1, layer.outputs) / (1 if depthwise else inputs)
    side = math.isqrt(layer.outputs // outputs)
    high = math.isqrt(round(taps))
    if round(taps) < 1 or side**2 * outputs != layer.outputs:
        return None
    size = (high, high) if high**2 == round(taps) else (1, round(taps))
    return Kernel(inputs, outputs, size, side, "depthwise" if depthwise else "conv")


def seconds(kernel: Kernel, measure: Measure) -> float | None:
    """The kernel's time, from those of the table around it; None where it has no such."""
    total = 0.0
    for near, weight in around(kernel).items():
        found = measure(near)
        if found is None:
            return None
        total += weight * found
    return total


def around(kernel: Kernel) -> dict[Kernel, float]:
    """The kernels that a table has next to this one, and how much each counts; bilinear in channels."""
    ins, outs = _between(kernel.inputs), _between(kernel.outputs)
    if kernel.kind == "depthwise":
        return {replace(kernel, inputs=c, outputs=c): w for c, w in outs.items()}
    return {
        replace(kernel, inputs=i, outputs=o): wi * wo
        for (i, wi), (o, wo) in itertools.product(ins.items(), outs.items())
    }


def _between(channels: int) -> dict[int, float]:
    if channels <= TINY:
        return {channels: 1.0}
    if channels <= EXACT:
        return {-(-channels // STEP) * STEP: 1.0}
    above = next((c for c in COARSE if c >= channels), COARSE[-1])
    if above <= channels:  # on the grid, or beyond it: as if time grew in proportion
        return {above: channels / above}
    below = max(c for c in COARSE if c < channels)
    share = (channels - below) / (above - below)
    return {below: 1 - share, above: share}


class KernelFiles(NamedTuple):
    """Two files that differ in nothing but how many of a kernel they run. apart: how many the second has more."""

    contents: tuple[bytes, bytes]
    apart: int


def kernel_of_turns(files: KernelFiles, rounds: Sequence[Sequence[float]]) -> float:
    """Seconds of one call of the kernel, from rounds of a call of each file."""
    from statistics import median  # here, for it loads much that a part never needs

    found = sorted(many - few for few, many in rounds)
    return max(median(found) / files.apart, 1e-8)
