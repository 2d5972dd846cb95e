"""ResNet-20 on the shared images, as a workload that other processes read too (figure 6 of ``bench search``)."""

import os
import sys
from pathlib import Path

from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench._harness import Bench
from bench._setup import network, post_training
from netsuke import Task

BENCH = Bench(data=Path(os.environ["NETSUKE_DATA"]))


def model() -> nn.Module:
    return network(BENCH)


def task() -> Task:
    return post_training(BENCH)
