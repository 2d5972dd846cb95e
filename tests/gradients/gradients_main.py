"""What each process of ``test_gradients.py`` runs: a small network trained together in several ways, what came of it written."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Generator, nn
from torch.distributed import get_rank
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD

from netsuke import gradients
from netsuke.gradients import Traffic
from netsuke.nets.together import launched
from torchrun import threads_of_gloo

STEPS = 150
Way = Callable[[DistributedDataParallel], Traffic]
WAYS: dict[str, tuple[float, Way | None]] = {
    "plain": (0.9, None),
    "8 bits": (0.9, lambda ddp: gradients.compress(ddp, bits=8)),
    "4 bits": (0.9, lambda ddp: gradients.compress(ddp)),
    "2 bits": (0.9, lambda ddp: gradients.compress(ddp, bits=2)),
    "ternary": (0.9, lambda ddp: gradients.compress(ddp, gradients.Ternary())),
    "sign": (0.9, lambda ddp: gradients.compress(ddp, gradients.Sign())),
    "topk": (0.0, lambda ddp: gradients.compress(ddp, gradients.TopK(share=0.02, warmup=30))),
    "fp16": (0.9, gradients.fp16),
    "powersgd": (0.9, gradients.powersgd),
}
"""The optimizer's momentum, and what the gradients go by."""


def trained(momentum: float, way: Way | None) -> tuple[float, list[float], Traffic]:
    """(Loss after it, the weights that this process has, what it sent.)"""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    ddp = DistributedDataParallel(net, bucket_cap_mb=0.002)  # several buckets
    traffic = way(ddp) if way else Traffic()
    sgd, draw = SGD(ddp.parameters(), 0.05, momentum), Generator().manual_seed(get_rank())
    for _ in range(STEPS):
        sgd.zero_grad()
        x = torch.randn(64, 16, generator=draw)
        nn.functional.cross_entropy(ddp(x), x.view(-1, 4, 4).sum(2).argmax(1)).backward()
        sgd.step()
    x = torch.randn(2000, 16, generator=Generator().manual_seed(9))
    loss = nn.functional.cross_entropy(net(x), x.view(-1, 4, 4).sum(2).argmax(1))
    return (
        float(loss),
        torch.cat([p.detach().flatten() for p in net.parameters()]).tolist(),
        traffic,
    )


def main(out: Path) -> None:
    told = {}
    with launched() as team:
        for name, (momentum, way) in WAYS.items():
            loss, weights, traffic = trained(momentum, way)
            told[name] = {
                "loss": loss, "weights": weights, "sent": traffic.sent, "plain": traffic.plain,
                "steps": traffic.steps, "ratio": traffic.ratio,
            }  # fmt: skip
    assert threads_of_gloo() == 0
    (out / f"{team.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
