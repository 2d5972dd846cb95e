"""A device's rates, measured on the device itself: they count more than its datasheet's."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
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
from netsuke.devices.local import cache_bytes, local, read_a_second
from netsuke.probes.memory import fresh

WIDE = (
    Kernel(64, 64, (3, 3), 8), Kernel(64, 64, (3, 3), 16), Kernel(128, 128, (3, 3), 14),
    Kernel(64, 64, (1, 1), 16), Kernel(192, 192, (1, 1), 14),
)  # fmt: skip
NARROW = (Kernel(16, 16, (3, 3), 32), Kernel(32, 32, (3, 3), 16))
"""Few products to a value: in integers, much of their time goes to laying values out and rounding them."""
DEPTHWISE = (Kernel(64, 64, (3, 3), 32, "depthwise"), Kernel(192, 192, (3, 3), 14, "depthwise"))
SMALLEST = (Kernel(4, 4, (1, 1), 1), Kernel(8, 8, (3, 3), 2), Kernel(8, 8, (3, 3), 4))
"""What takes its call's time and little else."""
NODES, CALLS = 3, 2000
"""Nodes of the file that is called, and how often."""
BITS = {"fp32": 32, "int8": 8}
OUT_OF_CACHE = 1 << 28
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

    Takes about half a minute on one core. Raises NetsukeError where this machine cannot be that device, or
    cannot run what is measured.
    """
    _check_here(device)
    watch = observer or Observer()
    readings: dict[str, Any] = {}
    for measured in watch.track(_measurements(runtime), "measuring"):
        readings |= measured()
    found = {name: value for name, value in readings.items() if value}
    said = f"measured on it with {runtime.name}, one thread, {date.today().isoformat()}"
    after = replace(device, **found, sources={**device.sources, **dict.fromkeys(found, said)})
    return after, tuple(
        Reading(fact=name, before=getattr(device, name) if name in device.sources else None, after=value)
        for name, value in found.items()
    )  # fmt: skip


def _measurements(runtime: Runtime) -> list[Callable[[], dict[str, Any]]]:
    """Each gives some facts; one that cannot be told is left out, or 0."""
    return [
        lambda: _dense(runtime),
        lambda: {"depthwise": _rates(runtime, DEPTHWISE)},
        lambda: _fixed(runtime),
        lambda: {"bandwidth": _copied(OUT_OF_CACHE)},
        lambda: {"cache": float(cache_bytes()), "cache_bandwidth": read_a_second(cache_bytes() // 4)},
        lambda: {"session": _session(runtime)},
    ]  # fmt: skip


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


def _dense(runtime: Runtime) -> dict[str, Any]:
    """Rates of dense kernels, and of laying out and rounding values for integers, which narrow ones feel."""
    rates = _rates(runtime, (*WIDE, *NARROW)) | _rates(runtime, WIDE, ("int8",))
    if "int8" not in rates:
        return {"formats": rates}
    narrow = [replace(kernel, bits=8) for kernel in NARROW]
    seconds = sum(runtime.kernel_seconds(kernel) or 0.0 for kernel in narrow)
    rounding = seconds - sum(kernel.macs for kernel in narrow) / rates["int8"]
    if rounding <= 0:
        return {"formats": rates}
    return {"formats": rates, "coding": sum(kernel.moved for kernel in narrow) / rounding}


def _rates(
    runtime: Runtime, kernels: Iterable[Kernel], formats: tuple[str, ...] = ("fp32", "int8")
) -> dict[str, float]:
    """Multiply-accumulates a second over some kernels, by format."""
    found = {}
    for name in formats:
        asked = [replace(kernel, bits=BITS[name]) for kernel in kernels]
        times = [runtime.kernel_seconds(kernel) for kernel in asked]
        if all(times):
            found[name] = sum(k.macs for k in asked) / sum(t for t in times if t)
    if "fp32" in formats and "fp32" not in found:
        raise NetsukeError(f"devices calibrate: {runtime.name} cannot time single kernels")
    return found


def _fixed(runtime: Runtime) -> dict[str, float]:
    """Seconds of a layer that has next to nothing to do: the mean over the smallest, in both formats; and of
    calling a model of a few such."""
    times = [runtime.kernel_seconds(replace(k, bits=b)) for k in SMALLEST for b in (32, 8)]
    overhead = float(np.mean([t for t in times if t]))
    return {"overhead": overhead, "call": _call(runtime, overhead)}


def _copied(size: int, rounds: int = 4) -> float:
    """Bytes read and written per second by one core, from memory larger than any cache."""
    source = np.ones(size, np.uint8)
    target = np.ones(size, np.uint8)
    return 2 * size / _usual(lambda: np.copyto(target, source), rounds)


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
