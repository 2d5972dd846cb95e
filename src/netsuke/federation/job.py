"""What a client must know before its server has told it anything, and what a server tells it with each round."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from netsuke import __version__
from netsuke.core.errors import NetsukeError
from netsuke.nets.compressors.compressor import Compressor
from netsuke.nets.compressors.full import Full
from netsuke.nets.compressors.natural import Natural
from netsuke.nets.compressors.sign import Sign
from netsuke.nets.compressors.stochastic import Stochastic
from netsuke.nets.compressors.ternary import Ternary
from netsuke.nets.compressors.topk import TopK


@dataclass(frozen=True, kw_only=True)
class Job:
    """workload, onnx: paths on the client's machine, onnx "" for the workload's own model. partition: of the training data,
    "" where all of it is this client's. clients: among how many it is shared out. name: of this machine.
    secure: whether the client says under masks alone what it learned."""

    workload: str
    onnx: str = ""
    partition: str = ""
    clients: int = 1
    seed: int = 0
    name: str = "client"
    secure: bool = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A round's training. pull: as in ``stint``. soft, temperature: how the network as it came is imitated, 0 for not at all.
    bits: of weights that are trained as integers, 0 for floats. by: what the update is compressed by, as ``compressor`` reads it.
    shape: the units that each group of the network keeps, where not all; groups by number, as JSON names them.
    lost: by the names of clients the last round whose update came too late."""

    round: int
    epochs: int
    lr: float
    batch: int
    pull: float = 0.0
    soft: float = 0.0
    temperature: float = 4.0
    bits: int = 0
    by: str = "full"
    shape: Mapping[str, list[int]] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    version: str = field(default=__version__)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def asked(text: str) -> Asked:
    """Raises NetsukeError where a server of another version asks."""
    given: dict[str, Any] = json.loads(text)
    if given.get("version") != __version__:
        raise NetsukeError(
            f"the server runs netsuke {given.get('version')}, this client {__version__}; install the same on both"
        )
    return Asked(**given)


def compressor(text: str) -> Compressor:
    """``full``, ``int8``, ``int4``, ``int2``, ``natural``, ``ternary``, ``sign``, or of the largest values alone as ``topk:SHARE`` or, packed by
    one of these, ``topk:SHARE:natural``. Raises NetsukeError for another."""
    kind, _, rest = text.partition(":")
    if kind == "topk":
        share, _, by = rest.partition(":")
        try:
            return TopK(share=float(share or 0.01), by=_plain(by or "full"), momentum=0)
        except ValueError:
            raise NetsukeError(f"compress: {text}: {share!r} is no number") from None
    return _plain(text)


def _plain(text: str) -> Compressor:
    made: dict[str, Compressor] = {
        "full": Full(), "int8": Stochastic(bits=8), "int4": Stochastic(bits=4), "int2": Stochastic(bits=2),
        "natural": Natural(), "ternary": Ternary(), "sign": Sign(),
    }  # fmt: skip
    if text not in made:
        raise NetsukeError(
            f"compress: {text!r}; there are {', '.join(made)}, topk:0.01 and topk:0.01:natural"
        )
    return made[text]
