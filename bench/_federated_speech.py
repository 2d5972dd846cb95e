"""Spoken digits of six speakers, each of whom keeps theirs, as a workload that clients read too (``bench federate``)."""

import os
import sys
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench._harness import Bench
from bench._speech import CLASSES, speech
from netsuke import Task
from netsuke.families.audio import DSCNN

BENCH = Bench(data=Path(os.environ["NETSUKE_DATA"]), quick=bool(os.environ.get("REHEARSE")))
WIDTH, BLOCKS, STRIDE = 80, 4, (4, 2)
TEST, CHOICE = 10, 14
"""Of the fifty recordings of a digit by a speaker: the first are to judge by, the next to choose on."""


def model() -> nn.Module:
    torch.manual_seed(int(os.environ.get("SEED", "0")))
    return DSCNN(CLASSES, WIDTH, BLOCKS, stride=STRIDE)


def task() -> Task:
    spoken = speech(BENCH)
    test, train = spoken.index < TEST, spoken.index >= CHOICE
    choice = ~test & ~train
    parts = {
        name: (spoken.x[rows], spoken.y[rows])
        for name, rows in (("train", train), ("validate", choice), ("test", test))
    }
    return Task(**parts, calibrate=parts["train"][0][::8], owners=spoken.speaker[train])
