"""What a machine reads of itself, whatever runs on it: how fast bytes come, and from where."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from netsuke.core.files import own_folder

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
OUT_OF_CACHE = 1 << 28
STORED = 1 << 26
HELD = 0.75
"""Share of the fastest reading at which bytes are still taken to come from the cache."""


def read_rates() -> dict[str, float]:
    """Facts of a Device by name: "bandwidth", "cache", "cache_bandwidth", "storage_speed"; 0 of what cannot be told.

    Takes some seconds on one core.
    """
    stored = _stored_a_second(own_folder("config"))
    return {"bandwidth": _copied(OUT_OF_CACHE), "storage_speed": stored, **_cached()}


def cache_bytes() -> int:
    """The largest cache that the first core reaches; 0 where the system does not tell (Linux does)."""
    found = [0]
    for path in CACHES.glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        if text.endswith("K") and text[:-1].isdigit():
            found.append(1024 * int(text[:-1]))
    return max(found)


def read_a_second(size: int, rounds: int = 50) -> float:
    """Bytes read per second by one core, over and over, of so many: a vector times a matrix. 0 of none."""
    if not size:
        return 0.0
    side = int((size / 4) ** 0.5)
    matrix, vector = np.ones((side, side), np.float32), np.ones(side, np.float32)
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        matrix @ vector
        best = min(best, time.process_time() - start)
    return 4 * side * side / max(best, 1e-9)


def _cached() -> dict[str, float]:
    """Bytes that come from the cache as fast as few do, and how fast: a shared one is not all a core's own."""
    sizes = [cache_bytes() >> part for part in range(5)]
    rates = {size: read_a_second(size) for size in sizes if size}
    if not rates:
        return {}
    best = max(rates.values())
    held = max(size for size in rates if rates[size] >= HELD * best)
    return {"cache": float(held), "cache_bandwidth": best}


def _copied(size: int, rounds: int = 4) -> float:
    """Bytes read and written per second by one core, from memory larger than any cache."""
    source = np.ones(size, np.uint8)
    target = np.ones(size, np.uint8)
    return 2 * size / _usual(lambda: np.copyto(target, source), rounds)


def _stored_a_second(folder: Path) -> float:
    """Bytes read per second from the storage that holds the folder; 0 where the system cannot be told to forget
    what it has just written (Linux can)."""
    if not hasattr(os, "posix_fadvise"):
        return 0.0
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(np.random.default_rng(0).bytes(STORED))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        start = time.perf_counter()
        while file.read(1 << 20):
            pass
        return STORED / (time.perf_counter() - start)


def _usual(work: Callable[[], object], rounds: int) -> float:
    """CPU seconds of the median of some rounds, threads of a library summed up."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return max(float(np.median(times)), 1e-9)
