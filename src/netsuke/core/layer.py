"""What one layer costs: the unit of inspection, estimation and reports."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operation of the network, for one sample (batch 1).

    name: the user's module (``layer1.0.conv1``). op: ``conv2d``, ``linear``, ... source: the user's
    file and line. weights: parameter elements. inputs / outputs: activation elements read and
    written, other than weights. alive: activation elements in memory while it runs, those of other
    branches too. macs: multiply-accumulates. channels: (in, out), (0, 0) where
    meaningless. weight_bits / activation_bits: bits each element really has.
    groups: of a grouped convolution, else 1. format: the number format of its arithmetic where codes
    are no integers ("fp16", "bf16", "e4m3", "e5m2", "fp32" for tables); "" where they are.
    """

    name: str
    op: str
    source: str = ""
    shape: tuple[int, ...] = ()
    weights: int = 0
    inputs: int = 0
    outputs: int = 0
    alive: int = 0
    macs: int = 0
    channels: tuple[int, int] = (0, 0)
    groups: int = 1
    weight_bits: int = 32
    activation_bits: int = 32
    format: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Layer":
        return Layer(**{**data, "shape": tuple(data["shape"]), "channels": tuple(data["channels"])})
