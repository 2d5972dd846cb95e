"""Each process hears the compressed gradients of all, and takes their mean."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.distributed import (  # type: ignore[attr-defined]
    GradBucket,
    ProcessGroup,
    all_gather,
    all_reduce,
    get_rank,
)
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from netsuke.core.errors import NetsukeError
from netsuke.gradients.traffic import Traffic, processes
from netsuke.nets.compressors.compressor import Compressor
from netsuke.nets.compressors.memory import Memory
from netsuke.nets.compressors.stochastic import Bits, Stochastic


def compress(
    ddp: DistributedDataParallel,
    by: Compressor | None = None,
    *,
    bits: Bits | None = None,
    seed: int = 0,
) -> Traffic:
    """Compress the gradients that these processes tell each other from the second step on (torch lays its buckets out anew
    after the first, which is sent in full). To be called once, in every process, with the same settings.

    Every process hears what each of the others sends: by b bits a value N processes send 64 ÷ (N·b) times fewer bytes than around
    a ring, so that it is for few of them. by: what compresses them. bits: of ``Stochastic``, where ``by`` is not given; 4 by itself.
    seed: of what is rounded by chance, other in every process. Returns the bytes sent, which are counted on as it trains. Raises
    NetsukeError where ``ddp`` is no DistributedDataParallel, is not on the CPU, or both ``by`` and ``bits`` are given.
    """
    count = processes(ddp)
    if by is not None and bits is not None:
        raise NetsukeError(f"gradients: bits = {bits} and by = {by}; give one of them")
    where = next(ddp.parameters()).device.type
    if where != "cpu":
        raise NetsukeError(
            f"gradients: compress works on the CPU, over Gloo, and the network is on {where}; fp16 and powersgd work there"
        )
    scheme = by or Stochastic(bits=bits or 4)
    traffic = Traffic()
    draw = Generator().manual_seed(seed + get_rank(ddp.process_group))
    state = _Gathering(ddp.process_group, count, scheme, scheme.memory(), draw, traffic)
    ddp.register_comm_hook(state, _hook)
    return traffic


@dataclass
class _Gathering:
    """It must not hold the network, which holds it where no collector looks."""

    group: ProcessGroup
    processes: int
    scheme: Compressor
    memory: Memory
    draw: Generator
    traffic: Traffic


def _hook(state: _Gathering, bucket: GradBucket) -> Future[Tensor]:
    """Of a bucket of gradients their mean over all processes, in the time to come."""
    step = state.traffic.steps
    full = state.traffic.count(bucket, state.processes)
    if step and len(bucket.buffer()):
        return _told(state, bucket, step)
    state.traffic.sent += full
    return _in_full(state, bucket.buffer())


def _in_full(state: _Gathering, buffer: Tensor) -> Future[Tensor]:
    buffer.div_(state.processes)
    work = all_reduce(buffer, group=state.group, async_op=True)
    added: Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return added


def _told(state: _Gathering, bucket: GradBucket, step: int) -> Future[Tensor]:
    buffer, scheme = bucket.buffer(), state.scheme.at(step)
    name = tuple(id(parameter) for parameter in bucket.parameters())
    wanted = state.memory.with_kept(name, buffer.float().cpu())
    packed = scheme.pack(wanted, state.draw)
    state.memory.sent(name, wanted, scheme.unpack(packed, len(wanted)))
    state.traffic.sent += (state.processes - 1) * packed.numel()
    heard = [torch.empty_like(packed) for _ in range(state.processes)]
    work = all_gather(heard, packed, group=state.group, async_op=True)

    def mean(done: Future[list[Tensor]]) -> Tensor:
        done.value()  # raises what went wrong
        every = torch.stack([scheme.unpack(one, len(wanted)) for one in heard])
        return buffer.copy_(every.mean(0))

    averaged: Future[Tensor] = work.get_future().then(mean)
    return averaged
