"""A device's rates, measured on the device itself: they count more than its datasheet's."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from netsuke.core.artifact import Artifact
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.feed import example
from netsuke.core.kernels import Kernel
from netsuke.core.observer import Observer
from netsuke.core.quantity import show
from netsuke.core.runtime import Runtime
from netsuke.devices import own_file
from netsuke.devices.local import cache_bytes, local, read_a_second
from netsuke.probes.memory import fresh

DENSE = (
    Kernel(64, 64, (3, 3), 8), Kernel(64, 64, (3, 3), 16), Kernel(128, 128, (3, 3), 14),
    Kernel(16, 16, (3, 3), 32), Kernel(32, 32, (3, 3), 16), Kernel(64, 64, (1, 1), 16),
    Kernel(192, 192, (1, 1), 14), Kernel(96, 32, (1, 1), 24), Kernel(16, 96, (1, 1), 48),
    Kernel(384, 64, (1, 1), 6), Kernel(64, 128, (1, 1), 8),
)  # fmt: skip
"""Wide and narrow, many and few products to a value: in integers, much of the time of the latter goes to
laying values out and rounding them."""
DEPTHWISE = tuple(
    Kernel(c, c, (3, 3), side, "depthwise") for c, side in ((64, 32), (192, 14), (32, 16), (384, 6))
)
SMALLEST = (Kernel(4, 4, (1, 1), 1), Kernel(8, 8, (3, 3), 2), Kernel(8, 8, (3, 3), 4))
"""What takes its call's time and little else."""
REPEATS = 3
NODES, CALLS = 3, 2000
"""Nodes of the file that is called, and how often."""
BITS = {"fp32": 32, "int8": 8}
OUT_OF_CACHE = 1 << 28
STORED = 1 << 26
HELD = 0.75
"""Share of the fastest reading at which bytes are still taken to come from the cache."""
ALIKE = 0.25
"""How far a machine's memory may be from the file's before it is taken for another machine."""
RUNNING = frozenset({"board", "phone", "computer", "server"})


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One fact that was measured. before: what the device's file says, None where it says nothing."""

    fact: str
    before: Any
    after: Any


def calibrate(
    device: Device, runtime: Runtime, observer: Observer | None = None
) -> tuple[Device, tuple[Reading, ...]]:
    """The device with its rates as this machine has them, and each beside the file's.

    Takes some ten seconds on one core. Raises NetsukeError where this machine cannot be that device, or
    cannot run what is measured.
    """
    _check_here(device)
    watch = observer or Observer()
    asked = [replace(k, bits=b) for b in BITS.values() for k in (*DENSE, *DEPTHWISE, *SMALLEST)]
    times = {kernel: _time(runtime, kernel) for kernel in watch.track(asked, "timing kernels")}
    readings: dict[str, Any] = _rates({k: t for k, t in times.items() if t}, runtime)
    for measured in watch.track(
        _others(device.name, runtime, readings["overhead"]), "measuring the rest"
    ):
        readings |= measured()
    found = {name: value for name, value in readings.items() if value}
    said = f"measured on it with {runtime.name}, one thread, {date.today().isoformat()}"
    after = replace(device, **found, sources={**device.sources, **dict.fromkeys(found, said)})
    return after, tuple(
        Reading(fact=name, before=getattr(device, name) if name in device.sources else None, after=value)
        for name, value in found.items()
    )  # fmt: skip


def _others(name: str, runtime: Runtime, overhead: float) -> list[Callable[[], dict[str, float]]]:
    """Each gives some facts; one that cannot be told is 0."""
    return [
        lambda: {"bandwidth": _copied(OUT_OF_CACHE)},
        _cached,
        lambda: {"call": _call(runtime, overhead)},
        lambda: {"session": _session(runtime)},
        lambda: {"storage_speed": _stored_a_second(own_file(name).parent)},
    ]


def _check_here(device: Device) -> None:
    """Raise where the device is none that runs Netsuke, or this machine is another."""
    here = local()
    if device.kind not in RUNNING:
        raise NetsukeError(
            f"devices calibrate: {device.name} ({device.kind}) cannot run its own measurement"
        )
    apart = abs(here.memory / device.memory - 1)
    if device.name != "local" and (here.cores != device.cores or apart > ALIKE):
        raise NetsukeError(
            f"devices calibrate: this machine has {here.cores} cores and {show(here.memory, 'B')}, {device.name} has "
            f"{device.cores} and {show(device.memory, 'B')}; run it on the device itself"
        )


def _time(runtime: Runtime, kernel: Kernel) -> float | None:
    """Seconds of one call, the median of some measurements; None where the runtime cannot tell."""
    found = [runtime.kernel_seconds(kernel) for _ in range(REPEATS)]
    known = [seconds for seconds in found if seconds]
    return float(np.median(known)) if known else None


def _rates(times: Mapping[Kernel, float], runtime: Runtime) -> dict[str, Any]:
    """Rates of kernels by format, of laying out and rounding for integers, and a kernel's fixed seconds."""
    floats, integers = (
        {k: t for k, t in times.items() if k.bits == bits} for bits in BITS.values()
    )
    if not floats:
        raise NetsukeError(f"devices calibrate: {runtime.name} cannot time single kernels")
    overhead = float(np.mean([t for k, t in times.items() if replace(k, bits=32) in SMALLEST]))
    formats, depthwise, coding = {}, {}, 0.0
    for name, known in (("fp32", floats), ("int8", integers)):
        dense = {k: t for k, t in known.items() if replace(k, bits=32) in DENSE}
        if not dense:
            continue
        thin = {k: t for k, t in known.items() if k.kind == "depthwise"}
        depthwise[name] = _fitted(thin, overhead, (_macs,))[0]
        if name == "int8":
            formats[name], coding = _fitted(dense, overhead, (_macs, _coded))
        else:
            formats[name] = _fitted(dense, overhead, (_macs,))[0]
    found = {"formats": formats, "depthwise": depthwise, "overhead": overhead}
    return found | ({"coding": coding} if coding else {})


def _fitted(
    times: Mapping[Kernel, float], overhead: float, counts: Sequence[Callable[[Kernel], int]]
) -> list[float]:
    """Rates of what is counted that explain the seconds beyond the fixed ones, each kernel's by its share
    (non-negative least squares: Lawson and Hanson, 1974); 0 of what takes no time."""
    from scipy.optimize import nnls

    seconds = np.array(list(times.values()))
    matrix = np.array([[count(kernel) for count in counts] for kernel in times]) / seconds[:, None]
    found, _ = nnls(matrix, 1 - overhead / seconds)
    return [float(1 / each) if each else 0.0 for each in found]


def _macs(kernel: Kernel) -> int:
    return kernel.macs


def _coded(kernel: Kernel) -> int:
    return kernel.coded


def _cached() -> dict[str, float]:
    """Bytes that come from the cache as fast as few do, and how fast: a shared one is not all a core's own."""
    sizes = [cache_bytes() >> part for part in range(5)]
    rates = {size: read_a_second(size) for size in sizes if size}
    if not rates:
        return {}
    best = max(rates.values())
    return {
        "cache": float(max(s for s in rates if rates[s] >= HELD * best)),
        "cache_bandwidth": best,
    }


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


@contextmanager
def _smallest(runtime: Runtime) -> Iterator[Artifact | None]:
    """A model of next to nothing; None where the runtime makes none."""
    content = runtime.kernel_file(SMALLEST[0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.onnx"
        path.write_bytes(content or b"")
        yield runtime.adopt(path) if content else None


def _call(runtime: Runtime, overhead: float) -> float:
    """Seconds of calling a model of next to nothing, its nodes left out; 0 where the runtime makes none."""
    with _smallest(runtime) as artifact:
        if artifact is None:
            return 0.0
        session, inputs = runtime.open(artifact), example(artifact)
        times = []
        for _ in range(CALLS):
            start = time.perf_counter()
            session.run(inputs)
            times.append(time.perf_counter() - start)
    return max(float(np.median(times)) - NODES * overhead, 1e-8)


def _session(runtime: Runtime) -> float:
    """Resident bytes that it takes."""
    with _smallest(runtime) as artifact:
        if artifact is None:
            return 0.0
        found = [fresh(artifact) for _ in range(3)]
    return float(np.median([f["peak"] - f["idle"] for f in found]))
