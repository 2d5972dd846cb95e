"""Torch's own hooks, their bytes counted as those of ours are."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.distributed import GradBucket  # type: ignore[attr-defined]
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from netsuke.core.errors import NetsukeError
from netsuke.gradients.traffic import Traffic, processes, ring

Hook = Callable[[Any, GradBucket], Future[Tensor]]


def fp16(ddp: DistributedDataParallel) -> Traffic:
    """Gradients are added up in floating point of 16 bits. Raises NetsukeError where ``ddp`` is no DistributedDataParallel."""
    count, traffic = processes(ddp), Traffic()

    def hook(group: Any, bucket: GradBucket) -> Future[Tensor]:
        traffic.sent += ring(2 * bucket.buffer().numel(), count)
        return _counted(fp16_compress_hook, traffic, count, group, bucket)

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
        size = bucket.buffer().numel() * bucket.buffer().element_size()
        begun = own.iter >= start
        before = own.total_numel_after_compression
        found = _counted(powerSGD_hook, traffic, count, own, bucket)
        # It tells the others more from callbacks: with a second bucket under way their order would differ between processes.
        found.wait()
        after = bucket.buffer().element_size() * (own.total_numel_after_compression - before)
        traffic.sent += ring(after if begun else size, count)
        return found

    ddp.register_comm_hook(state, hook)
    return traffic


def _counted(
    hook: Hook, traffic: Traffic, count: int, state: Any, bucket: GradBucket
) -> Future[Tensor]:
    buffer = bucket.buffer()
    traffic.plain += ring(buffer.numel() * buffer.element_size(), count)
    traffic.steps += bucket.is_last()
    return hook(state, bucket)
