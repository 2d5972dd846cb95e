"""Latency and memory on a device Netsuke does not run on, estimated from the layers."""

from typing import ClassVar

from netsuke.core.data import Stream
from netsuke.core.evidence import Evidence
from netsuke.core.footprint import memory_bytes
from netsuke.core.goal import Goal
from netsuke.core.probe import Probe, Subject
from netsuke.core.roofline import model_joules, model_seconds

# How far off an estimate may be, either way. Six networks' published times on a Raspberry Pi 4, FP32
# and INT8, lie within it where the library does not use another algorithm (pi4.toml).
SPREAD = 1.5
# Energy facts come from whole boards under stress and from other chips' memories: "a factor of two at
# best" say the device files themselves.
ENERGY_SPREAD = 3.0
# A quiet machine's 95th percentile over its median, as measured on x86; a fanless board may do worse.
P95_OVER_P50 = 1.15


class Estimate(Probe):
    """ "latency_p50", "latency_p95", "memory" and "energy" for the goal's device, source "estimated".

    Nothing where the goal's device is this machine, for it is measured, or the artifact's layers
    are not known. "memory" is above the runtime's own, as when it is measured. The interval is the
    range an estimate may be off by, a factor of 1.5 either way, of energy 3; it is no confidence
    interval. "energy" only where the device says what its arithmetic and its memory take.
    """

    name: ClassVar[str] = "estimate"

    def measure(
        self, subject: Subject, baseline: Subject, stream: Stream | None, goal: Goal
    ) -> tuple[Evidence, ...]:
        layers = subject.artifact.layers
        if goal.device.measured or not layers:
            return ()
        seconds = model_seconds(layers, goal.device)
        found = [
            ("latency_p50", seconds, "s", SPREAD),
            ("latency_p95", seconds * P95_OVER_P50, "s", SPREAD),
            ("memory", memory_bytes(layers, goal.device), "B", SPREAD),
        ]
        joules = model_joules(layers, goal.device)
        if joules is not None:
            found.append(("energy", joules, "J", ENERGY_SPREAD))
        return tuple(
            Evidence(
                what=what, value=value, unit=unit, source="estimated", device=goal.device.name,
                low=value / spread, high=value * spread,
                note=f"batch 1, one thread, from layer costs; within a factor of {spread:g} either way",
            )
            for what, value, unit, spread in found
        )  # fmt: skip
