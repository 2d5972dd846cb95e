"""A device's rates, measured on the device itself: they count more than its datasheet's."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.goal import Goal
from netsuke.core.kernels import Kernel
from netsuke.core.link import Link
from netsuke.core.observer import Observer
from netsuke.core.probe import Subject
from netsuke.core.quantity import show
from netsuke.core.runtime import Runtime
from netsuke.core.task import Task, ready
from netsuke.devices.local import local
from netsuke.probes.latency import Latency
from netsuke.probes.memory import Memory

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
NODES, CALLING = 3, 1.0
"""Nodes of the file that is called, and seconds it is."""
BITS = {"fp32": 32, "int8": 8}
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
    device: Device, runtime: Runtime, link: Link, observer: Observer | None = None
) -> tuple[Device, tuple[Reading, ...]]:
    """The device with its rates as the machine at the other end of the link has them, and each beside the file's.

    Takes some ten seconds on one core there. Raises NetsukeError where that machine cannot be the device, or cannot run
    what is measured.
    """
    _check_fits(device)
    watch = observer or Observer()
    asked = [replace(k, bits=b) for b in BITS.values() for k in (*DENSE, *DEPTHWISE, *SMALLEST)]
    times = {kernel: _time(link, kernel) for kernel in watch.track(asked, "timing kernels")}
    readings: dict[str, Any] = _rates({k: t for k, t in times.items() if t}, runtime)
    rest: list[Callable[[], dict[str, float]]] = [
        link.rates, partial(_called, runtime, link, readings["overhead"]),
    ]  # fmt: skip
    for read in watch.track(rest, "measuring the rest"):
        readings |= read()
    found = {name: value for name, value in readings.items() if value}
    said = f"measured on it with {runtime.name}, one thread, {date.today().isoformat()}"
    after = replace(device, **found, sources={**device.sources, **dict.fromkeys(found, said)})
    return after, tuple(
        Reading(fact=name, before=getattr(device, name) if name in device.sources else None, after=value)
        for name, value in found.items()
    )  # fmt: skip


def _check_fits(device: Device) -> None:
    """Raise where the device is none that runs Netsuke, or is neither paired nor this machine."""
    if device.kind not in RUNNING:
        raise NetsukeError(
            f"devices calibrate: {device.name} ({device.kind}) cannot run its own measurement"
        )
    if device.measured:
        return
    here = local()
    if here.cores != device.cores or abs(here.memory / device.memory - 1) > ALIKE:
        raise NetsukeError(
            f"devices calibrate: this machine has {here.cores} cores and {show(here.memory, 'B')}, {device.name} has "
            f"{device.cores} and {show(device.memory, 'B')}; pair with it, or run it on the device itself"
        )


def _time(link: Link, kernel: Kernel) -> float | None:
    """Seconds of one call, the median of some measurements; None where the runtime cannot tell."""
    found = [link.kernel_seconds(kernel) for _ in range(REPEATS)]
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


def _called(runtime: Runtime, link: Link, overhead: float) -> dict[str, float]:
    """Of a model of next to nothing: the seconds of calling it, its nodes left out, and the bytes its session takes;
    nothing where the runtime makes none."""
    content = runtime.kernel_file(SMALLEST[0])
    if content is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.onnx"
        path.write_bytes(content)
        artifact = runtime.adopt(path)
        tiny = Subject(artifact=artifact, open=partial(runtime.open, artifact))
        goal = Goal(data=ready(Task(test=(np.zeros(2), np.zeros(2)))), device=local())
        found = [
            one for probe in (Latency(CALLING), Memory()) for one in link.probe(probe, tiny, tiny, None, goal)
        ]  # fmt: skip
    values = {one.what: one.value for one in found}
    return {"call": max(values["cpu_p50"] - NODES * overhead, 1e-8), "session": values["memory"]}
