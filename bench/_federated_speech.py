"""Spoken digits of six speakers, each of whom keeps theirs, as a workload that clients read too (``bench federate``)."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench._convnet import ConvNet
from bench._harness import Bench
from bench._speech import SILENT, speech
from netsuke import Task

BENCH = Bench(data=Path(os.environ["NETSUKE_DATA"]), quick=bool(os.environ.get("REHEARSE")))
SIZE = (32, 32)
"""Of every recording's picture: two frames are one."""
TEST, CHOICE = 10, 14
"""Of the fifty recordings of a digit by a speaker: the first are to judge by, the next to choose on."""


def model() -> nn.Module:
    torch.manual_seed(int(os.environ.get("SEED", "0")))
    return ConvNet((1, *SIZE), (32, 64, 128), kernel=3, units=128)


def task() -> Task:
    spoken = speech(BENCH)
    test, train = spoken.index < TEST, spoken.index >= CHOICE
    choice = ~test & ~train
    short = 2 * SIZE[0] - spoken.x.shape[2]
    padded = np.pad(spoken.x, ((0, 0), (0, 0), (0, short), (0, 0)), constant_values=SILENT)
    x = padded.reshape(len(padded), 1, SIZE[0], 2, SIZE[1]).mean(3)
    parts = {
        name: (x[rows], spoken.y[rows])
        for name, rows in (("train", train), ("validate", choice), ("test", test))
    }
    return Task(**parts, calibrate=parts["train"][0][::8], owners=spoken.speaker[train])
