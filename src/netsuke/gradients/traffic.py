"""What was sent, and what it would have been."""

from dataclasses import dataclass

import torch.distributed.nn.functional  # noqa: F401  before there is a group, as nets/together.py does
from torch.distributed import GradBucket, get_world_size  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from netsuke.core.errors import NetsukeError


@dataclass
class Traffic:
    """Bytes that one process sent as it trains, headers of the network not counted. plain: what uncompressed gradients
    would have been, added up around a ring (Patarasuk and Yuan, 2009). steps: of the training so far."""

    sent: int = 0
    plain: int = 0
    steps: int = 0

    @property
    def ratio(self) -> float:
        """How many times fewer; 1 before the first step."""
        return self.plain / self.sent if self.sent else 1.0

    def count(self, bucket: GradBucket, processes: int) -> int:
        """Note that a bucket is on its way. Returns the bytes it would take in full."""
        full = ring(bucket.buffer().numel() * bucket.buffer().element_size(), processes)
        self.plain += full
        self.steps += bucket.is_last()
        return full


def ring(size: int, processes: int) -> int:
    """Bytes that each of them sends where this many are added up around a ring."""
    return 2 * (processes - 1) * size // processes


def processes(ddp: DistributedDataParallel) -> int:
    """How many train together. Raises NetsukeError where this is no DistributedDataParallel."""
    if not isinstance(ddp, DistributedDataParallel):
        raise NetsukeError(
            f"gradients: expected a DistributedDataParallel, got {type(ddp).__name__}; wrap the network first"
        )
    return get_world_size(ddp.process_group)
