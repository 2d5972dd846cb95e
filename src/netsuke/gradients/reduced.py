"""Torch's own hooks, their bytes counted as those of ours are."""

from typing import Any

from torch import Tensor
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from netsuke.core.errors import NetsukeError
from netsuke.gradients.traffic import Traffic, processes, ring


def fp16(ddp: DistributedDataParallel) -> Traffic:
    """Gradients are added up in floating point of 16 bits. Raises NetsukeError where ``ddp`` is no DistributedDataParallel."""
    count, traffic = processes(ddp), Traffic()

    def hook(group: Any, bucket: GradBucket) -> Future[Tensor]:
        traffic.count(bucket, count)
        traffic.sent += ring(2 * bucket.buffer().numel(), count)
        return fp16_compress_hook(group, bucket)

    ddp.register_comm_hook(ddp.process_group, hook)
    return traffic


def powersgd(ddp: DistributedDataParallel, rank: int = 1, start: int = 2, seed: int = 0) -> Traffic:
    """Of each layer's gradient the nearest matrix of low rank, with error feedback (Vogels et al., 2019, "PowerSGD").

    start: the step it begins at, 2 or later; before, gradients are sent in full. Raises NetsukeError where ``ddp`` is no
    DistributedDataParallel, or for a start before the second step.
    """
    count, traffic = processes(ddp), Traffic()
    if start < 2:
        raise NetsukeError(f"gradients: powersgd: start = {start}; it begins at step 2 or later")
    state = PowerSGDState(
        ddp.process_group, matrix_approximation_rank=rank, start_powerSGD_iter=start, random_seed=seed
    )  # fmt: skip

    def hook(own: PowerSGDState, bucket: GradBucket) -> Future[Tensor]:
        full = traffic.count(bucket, count)
        begun = own.iter >= start
        before = own.total_numel_after_compression
        found = powerSGD_hook(own, bucket)
        # It tells the others more from callbacks: with a second bucket under way their order would differ between processes.
        found.wait()
        after = bucket.buffer().element_size() * (own.total_numel_after_compression - before)
        traffic.sent += ring(after, count) if begun else full
        return found

    ddp.register_comm_hook(state, hook)
    return traffic
