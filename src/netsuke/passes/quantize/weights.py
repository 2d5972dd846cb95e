"""Weights alone, in any scheme."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor
from torch.fx import GraphModule

from netsuke.core.goal import Goal
from netsuke.core.model import Model, Step
from netsuke.core.passes import Pass
from netsuke.core.scheme import Cast, Scheme, parse
from netsuke.nets.fold import fold_batchnorm
from netsuke.nets.graph import tensor_of
from netsuke.nets.onnx_out.stored import buys
from netsuke.nets.quantizers.roles import op
from netsuke.nets.quantizers.weights import quantize_weights, weights

FLOAT = 4
"""Bytes."""
FINE = 32
"""Values to a scale, where a scale a channel was too coarse."""
NODES = 100
"""Bytes that a coded weight's nodes take in the file, about."""


@dataclass(frozen=True, kw_only=True)
class Weights(Pass):
    """Code weights and leave activations as floats; no data is needed.

    scheme: as ``core.scheme.parse`` knows it: int4, int4g64, uint8, q8, fp16, bf16, e4m3, e5m2,
    kmeans4, log4, nf4g64 … embeddings: the scheme of embedding tables; "" is the same one, "fp32"
    leaves them. A scheme with groups falls back to a scale a channel where a weight is no matrix.
    """

    name: ClassVar[str] = "quantize.weights"

    scheme: str = "int8"
    embeddings: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (self.scheme, self.embeddings or "int8"):
            if name != "fp32" or name is self.scheme:
                parse(name)

    @property
    def asks_device(self) -> bool:
        """The same codes for every device."""
        return False

    def refuse(self, model: Model, goal: Goal) -> str | None:
        """Where no weight is left to code, or codes, scales and nodes would take more bytes."""
        network = fold_batchnorm(model.network)
        planned = self._plan(network)
        if not planned:
            return "no layer has a weight that is not coded already"
        before = FLOAT * sum(weight_of(network, name).numel() for name in planned)
        after = sum(coded_bytes(network, name, scheme) for name, scheme in planned.items())
        if after >= before:
            return f"nothing would be won: {before:,} bytes of weights would become {after:,.0f}"
        return None

    def apply(self, model: Model, goal: Goal) -> Model:
        """Raises NetsukeError naming a weight that holds NaN, or values that fp16 cannot hold."""
        folded = fold_batchnorm(model.network)
        planned = self._plan(folded)
        network = quantize_weights(model.network, planned)
        kinds = _kinds(folded, planned)
        counted = Counter((str(planned[name]), kind) for name, kind in kinds.items())
        step = Step(
            name=self.name,
            settings=self.settings(),
            summary=", ".join(f"{n} {kind} {scheme}" for (scheme, kind), n in counted.items()),
            notes=(
                *(f"{scheme} {kind}: buys {buys(parse(scheme), kind)}" for scheme, kind in counted),
                *(f"{name}: {planned[name]}, for groups need a matrix"
                  for name in planned if self._falls_back(folded, name)),
            ),
        )  # fmt: skip
        return model.then(network, step)

    def remedies(self) -> tuple[Pass, ...]:
        """Scales for fewer values, then 8 bits."""
        wanted, finer = parse(self.scheme), []
        if wanted.bits <= 4 and not wanted.group and not isinstance(wanted, Cast):
            finer.append(f"{self.scheme.rstrip('tc')}g{FINE}")
        if wanted.bits < 8:
            finer.append("int8")
        return tuple(replace(self, scheme=name) for name in finer)

    def _plan(self, network: GraphModule) -> dict[str, Scheme]:
        """Weight → scheme, embeddings and what groups do not fit seen to."""
        planned: dict[str, Scheme] = {}
        for name, readers in weights(network).items():
            embeds = all(op(reader) == "embedding" for reader in readers)
            wanted = (self.embeddings or self.scheme) if embeds else self.scheme
            if wanted != "fp32":
                scheme = parse(wanted)
                matrix = weight_of(network, name).dim() == 2
                planned[name] = scheme if matrix else replace(scheme, group=0)
        return planned

    def _falls_back(self, network: GraphModule, name: str) -> bool:
        return bool(parse(self.scheme).group) and weight_of(network, name).dim() != 2


def _kinds(network: GraphModule, planned: Mapping[str, Scheme]) -> dict[str, str]:
    """Weight → the operation that reads it."""
    return {name: op(readers[0]) for name, readers in weights(network).items() if name in planned}


def coded_bytes(network: GraphModule, name: str, scheme: Scheme) -> float:
    """What a weight takes in the file, about: codes of 4, 8 or 16 bits, scales and nodes."""
    tensor = weight_of(network, name)
    held = next(b for b in (4, 8, 16) if scheme.bits <= b)
    scales = tensor.numel() / scheme.group if scheme.group else len(tensor)
    return tensor.numel() * held / 8 + (FLOAT * scales if scheme.axis >= 0 else 0) + NODES


def weight_of(network: GraphModule, name: str) -> Tensor:
    found = tensor_of(network, name)
    assert found is not None
    return found
