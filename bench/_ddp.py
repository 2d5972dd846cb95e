"""What one of two processes of `bench federate`'s figure 5 runs: ``torchrun … bench/_ddp.py ARM SEED EPOCHS IMAGES.npz OUT.npz``.

ResNet-20 from scratch by DistributedDataParallel, half of every batch in each process, trained alike by every way: in mixed precision,
its weights and gradients in 32 bits. Bytes are those of the loopback interface: what both send, with all headers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import nn
from torch.distributed import barrier, get_rank, get_world_size
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR

from bench._data import augment
from bench._loop import right
from bench._resnet import resnet
from netsuke.gradients import Natural, Sign, Ternary, TopK, Traffic, compress, fp16, powersgd
from netsuke.nets.together import launched

BATCH, RATE, MOMENTUM, DECAY, CLIP = 128, 0.05, 0.9, 5e-4, 2.0
LARGEST, WARM = TopK(share=0.0235, by=Natural(), momentum=0.0), 21
"""WARM: epochs. Most of them all, for the training is short: of 8 in all, each epoch less of warm-up lost about a point. Momentum is
the optimizer's: gathered with the gradients (``TopK(momentum=0.9)``) it lost 1.7 points more on each of two seeds."""
Way = Callable[[DistributedDataParallel, int], Traffic]
"""(network, steps of an epoch) → what it sends by."""
WAYS: dict[str, Way] = {
    "plain": lambda ddp, epoch: Traffic(),
    "8 bits": lambda ddp, epoch: compress(ddp, bits=8),
    "4 bits": lambda ddp, epoch: compress(ddp, bits=4),
    "natural": lambda ddp, epoch: compress(ddp, Natural()),
    "ternary": lambda ddp, epoch: compress(ddp, Ternary()),
    "sign": lambda ddp, epoch: compress(ddp, Sign()),
    "topk": lambda ddp, epoch: compress(ddp, replace(LARGEST, warmup=WARM * epoch)),
    "fp16": lambda ddp, epoch: fp16(ddp),
    "powersgd": lambda ddp, epoch: powersgd(ddp, rank=2, start=epoch),
}


def main(arm: str, seed: int, epochs: int, images: Path, out: Path) -> None:
    torch.set_num_threads(1)
    with launched():
        _trained(arm, seed, epochs, images, out)


def _trained(arm: str, seed: int, epochs: int, images: Path, out: Path) -> None:
    with np.load(images) as held:
        x, y, test = held["x"], held["y"], (held["test_x"], held["test_y"])
    steps = len(x) // BATCH
    torch.manual_seed(seed)
    # Statistics of BatchNorm stay each process's own: they would be most of what is sent.
    ddp = DistributedDataParallel(resnet(20), forward_sync_buffers=False)
    traffic = WAYS[arm](ddp, steps)
    sgd = SGD(ddp.parameters(), RATE, MOMENTUM, weight_decay=DECAY)
    cosine = CosineAnnealingLR(sgd, steps * epochs)
    wire, counted = [], _loopback()
    for epoch in range(epochs):
        _epoch(ddp, (x, y), (sgd, cosine), seed * 1000 + epoch)
        barrier()
        wire.append(_loopback() - counted)
        counted += wire[-1]
    if get_rank() == 0:
        np.savez(out, right=right(ddp.module.eval(), *test), wire=np.array(wire), told=traffic.sent)


def _epoch(ddp: DistributedDataParallel, data: tuple[np.ndarray, np.ndarray], by: tuple[SGD, CosineAnnealingLR], seed: int) -> None:  # fmt: skip
    """The same order in all processes; of each batch every process takes its part."""
    sgd, cosine = by
    images, classes = (torch.from_numpy(array) for array in data)
    order = np.random.default_rng(seed).permutation(len(images))
    torch.manual_seed(seed * get_world_size() + get_rank())
    ddp.train()
    for step in range(len(order) // BATCH):
        rows = torch.from_numpy(
            order[step * BATCH : (step + 1) * BATCH][get_rank() :: get_world_size()]
        )
        sgd.zero_grad()
        x = augment(images[rows]).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            given = ddp(x)
        nn.functional.cross_entropy(given.float(), classes[rows]).backward()
        nn.utils.clip_grad_norm_(ddp.parameters(), CLIP)
        sgd.step()
        cosine.step()


def _loopback() -> int:
    """Bytes that went over it so far."""
    sent: int = psutil.net_io_counters(pernic=True)["lo"].bytes_sent
    return sent


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
