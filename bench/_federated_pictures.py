"""CIFAR-10 pictures that ten clients share out, as a workload that they read too (``bench federate``)."""

import os
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench._convnet import ConvNet
from bench._data import CALIBRATE, VALIDATE, augment, load_test, load_train
from bench._harness import Bench
from netsuke import Task

BENCH = Bench(data=Path(os.environ["NETSUKE_DATA"]), quick=bool(os.environ.get("REHEARSE")))
ROWS, CHOICE = (
    slice(VALIDATE.stop, VALIDATE.stop + 10_000),
    slice(VALIDATE.start, VALIDATE.start + 1000),
)


def model() -> nn.Module:
    torch.manual_seed(int(os.environ.get("SEED", "0")))
    return ConvNet((3, 32, 32), (32, 64), kernel=5, units=512)


def task() -> Task:
    images = load_train(BENCH)
    rows = slice(ROWS.start, ROWS.start + BENCH.count(10_000, 1000))
    return Task(
        train=images.part(rows), calibrate=images.part(CALIBRATE)[0],
        validate=images.part(CHOICE), test=load_test(BENCH), augment=augment,
    )  # fmt: skip
