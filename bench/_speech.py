"""Spoken digits (FSDD) as pictures of their spectra, split by speaker: nobody is judged by a voice it was trained
on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench._harness import Bench

if TYPE_CHECKING:
    from torch import Tensor

    from netsuke.core.task import Task

FILE = "fsdd/fsdd.npz"
LENGTH, FRAME, HOP, BANDS = 8000, 256, 128, 32
"""Samples of a recording (a second; longer ones are cut), of a frame, between frames; mel bands."""
SPEAKERS, CLASSES = 6, 10
SILENT, WARP = -1.0, 0.2


@dataclass(frozen=True)
class Speech:
    """x: float32, (recordings, 1, frames, bands), log-mel. y: int64 digits. speaker: who it is. index: which of the
    speaker's fifty recordings of the digit."""

    x: np.ndarray
    y: np.ndarray
    speaker: np.ndarray
    index: np.ndarray

    def of(self, *speakers: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.isin(self.speaker, speakers)
        return self.x[rows], self.y[rows]


def speech(bench: Bench) -> Speech:
    """All 3,000 recordings; every tenth of them in a rehearsal."""
    with np.load(bench.file(FILE)) as stored:
        keys = ("audio", "offsets", "y", "speaker", "index")
        audio, offsets, y, who, index = (stored[key] for key in keys)
    rows = range(0, len(y), 10 if bench.quick else 1)
    bank = _mel(BANDS)
    x = np.stack([_spectrum(audio[offsets[i] : offsets[i + 1]], bank) for i in rows])
    kept = np.asarray(rows)
    return Speech(x[:, None], *(each[kept].astype(np.int64) for each in (y, who, index)))


def fold(spoken: Speech, number: int) -> Task:
    """One speaker to judge by, the next one to choose on, the other four to train on."""
    from netsuke import Task

    test, chosen = number % SPEAKERS, (number + 1) % SPEAKERS
    rest = [s for s in range(SPEAKERS) if s not in (test, chosen)]
    train = spoken.of(*rest)
    return Task(
        train=train, calibrate=train[0][::8], validate=spoken.of(chosen), test=spoken.of(test),
        augment=augment,
    )  # fmt: skip


def augment(batch: Tensor) -> Tensor:
    """Each recording its own: slower or faster and higher or lower by up to a fifth (after Jaitly and Hinton,
    2013, "Vocal tract length perturbation"), earlier or later by up to 6 frames, a stretch of frames and one of
    bands silent (after Park et al., 2019, "SpecAugment")."""
    import torch

    count, _, frames, bands = batch.shape
    rows = _warped(count, frames, frames / 2, 6)
    columns = _warped(count, bands, 0.0, 1)
    moved = batch[torch.arange(count)[:, None, None], 0, rows[:, :, None], columns[:, None, :]]
    return (
        moved.masked_fill(_hidden(count, frames, 10)[:, :, None], SILENT)
        .masked_fill(_hidden(count, bands, 4)[:, None, :], SILENT)
        .unsqueeze(1)
    )


def _warped(count: int, size: int, still: float, shift: int) -> Tensor:
    """(count, size): where each place is read from, around the place that stays still."""
    import torch

    factor = 1 + WARP * (2 * torch.rand(count, 1) - 1)
    place = (
        still + (torch.arange(size) - still) * factor + torch.randint(-shift, shift + 1, (count, 1))
    )
    return place.round().long().clamp(0, size - 1)


def _hidden(count: int, size: int, most: int) -> Tensor:
    """(count, size): a stretch of each, up to so long."""
    import torch

    start, place = torch.randint(0, size, (count, 1)), torch.arange(size)
    return (place >= start) & (place < start + torch.randint(0, most + 1, (count, 1)))


def _spectrum(samples: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """(frames, bands) from −1, which is 60 dB below the loudest and less, to 1."""
    padded = np.zeros(LENGTH, np.float32)
    start = max(0, (LENGTH - len(samples)) // 2)
    padded[start : start + len(samples)] = samples[:LENGTH].astype(np.float32) / 32768
    sharper = np.append(padded[0], padded[1:] - 0.97 * padded[:-1])
    frames = np.lib.stride_tricks.sliding_window_view(sharper, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME))) ** 2
    loud = 10 * np.log10(power @ bank.T + 1e-12)
    return (np.clip(loud - loud.max(), -60, 0) / 30 + 1).astype(np.float32)


def _mel(bands: int, lowest: float = 60.0, highest: float = 4000.0) -> np.ndarray:
    """Triangles evenly apart on the mel scale (O'Shaughnessy, 1987), (bands, frequencies)."""
    mel = np.linspace(
        2595 * np.log10(1 + lowest / 700), 2595 * np.log10(1 + highest / 700), bands + 2
    )
    edges = 700 * (10 ** (mel / 2595) - 1)
    at = np.linspace(0, highest, FRAME // 2 + 1)
    up = (at - edges[:-2, None]) / np.diff(edges)[:-1, None]
    down = (edges[2:, None] - at) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(up, down), 0, None)
