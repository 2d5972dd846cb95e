"""CIFAR-10 as the shared data holds it, decoded once and kept under the cache folder."""

import hashlib
import io
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench._harness import Bench, MissingDataError, say

if TYPE_CHECKING:
    from torch import Tensor

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
TRAIN, TEST = "cifar10/cifar10_train_jpeg.npz", "cifar10/cifar10_test.npz"
CALIBRATE, VALIDATE, SHORT = slice(0, 500), slice(500, 2500), slice(2500, 5500)
"""Parts of the training images (stored in shuffled order): 500 to calibrate, 2,000 others to choose
on, 3,000 others for short retraining."""


@dataclass(frozen=True)
class Images:
    """x: uint8, (samples, 32, 32, 3), RGB. y: int64 classes."""

    x: np.ndarray
    y: np.ndarray

    def part(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """(inputs, classes): normalised float32 NCHW, int64."""
        return normalise(self.x[rows]), self.y[rows]


def load_test(bench: Bench, quick: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """The 10,000 test images, ready for the network (the first ``quick`` in a rehearsal)."""
    with np.load(bench.file(TEST)) as stored:
        images = Images(stored["x"], stored["y"].astype(np.int64))
    return images.part(slice(0, bench.count(len(images.y), quick)))


def load_train(bench: Bench) -> Images:
    """The 50,000 training images."""
    source = bench.file(TRAIN)
    kept = bench.folder("data") / f"cifar10-train-{_digest(source)}.npy"
    with np.load(source) as stored:
        y = stored["y"].astype(np.int64)
        if not kept.is_file():
            say(f"decoding {len(y):,} images of {source.name} once")
            _write(kept, _decode(stored["jpeg"], stored["offsets"]))
    return Images(np.load(kept, mmap_mode="r"), y)


def normalise(pixels: np.ndarray) -> np.ndarray:
    """uint8 NHWC → float32 NCHW as the shared networks were trained on."""
    scaled = (pixels.astype(np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def augment(batch: "Tensor") -> "Tensor":
    """Random crop with padding 4 and random flip, each image its own (NCHW)."""
    import torch

    count, _, height, width = batch.shape
    padded = torch.nn.functional.pad(batch, (4, 4, 4, 4))
    top, left = torch.randint(0, 9, (2, count, 1))
    rows = torch.arange(height) + top
    columns = torch.arange(width) + left
    columns = torch.where(torch.rand(count, 1) < 0.5, columns, columns.flip(1))
    picked = padded.permute(0, 2, 3, 1)[
        torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]
    ]
    return picked.permute(0, 3, 1, 2).contiguous()


def _decode(jpeg: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    try:
        from PIL import Image
    except ImportError:
        raise MissingDataError(
            "decoding the JPEG images needs Pillow: pip install pillow"
        ) from None
    raw = jpeg.tobytes()
    cuts = itertools.pairwise(offsets)
    return np.stack([np.asarray(Image.open(io.BytesIO(raw[a:b])).convert("RGB")) for a, b in cuts])


def _write(path: Path, array: np.ndarray) -> None:
    """Beside, then renamed: an interrupted run leaves no half file."""
    beside = path.with_suffix(".part.npy")
    np.save(beside, array)
    beside.replace(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
