"""What the rules look at: the limits against what the model as it came is expected to need."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from netsuke.advisor.applications import Application
from netsuke.advisor.bounds import Bound, bounds, shares
from netsuke.core.device import Device
from netsuke.core.footprint import file_bytes, memory_bytes
from netsuke.core.goal import Goal
from netsuke.core.layer import Layer
from netsuke.core.quantity import show
from netsuke.core.roofline import model_joules, model_seconds
from netsuke.probes.estimate import P95_OVER_P50

UNITS = {"size": "B", "memory": "B", "latency_p95": "s", "energy": "J"}
INTEGERS = "integers_p50"
"""Among what was measured: the median call of the model as it came, in INT8."""
WORDS = {"size": "the file", "memory": "memory", "latency_p95": "a call", "energy": "an inference"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A model, what is wanted of it, and what is known of its use.

    layers: of the model as it came. application: None where nobody said. hours: that the work may take,
    None where nobody said. gap: quality on training samples less that on validation samples, as a
    fraction; None where it was not measured. measured: of the model as it came on the device, by the names of
    evidence, where it was. workshop: the machine that does the work.
    """

    layers: tuple[Layer, ...]
    goal: Goal
    application: Application | None = None
    hours: float | None = None
    gap: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    workshop: Device | None = None

    @property
    def device(self) -> Device:
        return self.goal.device

    @cached_property
    def needs(self) -> dict[str, float]:
        """What the model as it came is estimated to need, by the name of the limit."""
        return needs(self.layers, self.device)

    @cached_property
    def integers(self) -> dict[str, float]:
        """The same with weights and activations of 8 bits."""
        return needs(tuple(map(as_int8, self.layers)), self.device)

    @cached_property
    def limits(self) -> dict[str, float]:
        """The limits on what can be estimated; the device's own where nobody set one."""
        asked = self.goal.budget.limits()
        return {name: asked.get(name, self.has.get(name, float("inf"))) for name in UNITS}

    @property
    def has(self) -> dict[str, float]:
        """What the device has of what can be limited, by the name of the limit."""
        return {"size": self.device.storage, "memory": self.device.memory}

    @cached_property
    def bound(self) -> dict[Bound, float]:
        """Shares of the time, by what bounds it."""
        return shares(bounds(self.layers, self.device))

    def needed(self, what: str) -> float:
        """What the model as it came needs, measured where it was, else estimated; by evidence's name."""
        if what == "latency_p50":
            return self.measured.get(what, self._seconds)
        return self.measured.get(what, self.needs[what])

    def slow(self, median: float) -> float:
        """The 95th percentile of calls with this median. What delays a call is not of the model's making: where
        the model as it came was timed, its slow calls were later than the median by as many seconds."""
        measured = self.measured
        if "latency_p95" not in measured or "latency_p50" not in measured:
            return median * P95_OVER_P50
        return median + max(0.0, measured["latency_p95"] - measured["latency_p50"])

    def correction(self, what: str) -> float:
        """Measured over estimated, of the model as it came; 1 where it was not measured."""
        guess = self._seconds if what == "latency_p50" else self.needs[what]
        return self.needed(what) / guess

    def call(self, layers: tuple[Layer, ...]) -> float:
        """Median seconds of a call of these layers: estimated, and corrected by what the model as it came took,
        in floats or in integers, as these are: kernels of the two are off by other shares."""
        guess = model_seconds(layers, self.device)
        if INTEGERS in self.measured and any(layer.activation_bits == 8 for layer in layers):
            whole = tuple(map(as_int8, self.layers))
            return guess * self.measured[INTEGERS] / model_seconds(whole, self.device)
        return guess * self.correction("latency_p50")

    def beyond(self, what: str) -> float:
        """Measured less estimated, of the model as it came; 0 where it was not measured."""
        return self.needed(what) - self.needs[what]

    @cached_property
    def _seconds(self) -> float:
        return model_seconds(self.layers, self.device)

    def over(self, what: str) -> float:
        """How many times over its limit the model as it came is; at most 1 is within."""
        return self.needs.get(what, 0.0) / self.limits[what]

    def said(self, what: str) -> str:
        """``a call needs 2.9 ms, 1 ms is allowed``."""
        unit = UNITS[what]
        needed, allowed = show(self.needs[what], unit), show(self.limits[what], unit)
        return f"{WORDS[what]} needs {needed} as it came, {allowed} is allowed"


def needs(layers: tuple[Layer, ...], device: Device) -> dict[str, float]:
    """Estimated size, memory, latency and, where the device says enough, energy."""
    joules = model_joules(layers, device)
    found = {
        "size": file_bytes(layers),
        "memory": memory_bytes(layers, device),
        "latency_p95": model_seconds(layers, device) * P95_OVER_P50,
    }
    return found if joules is None else found | {"energy": joules}


def as_int8(layer: Layer) -> Layer:
    """The layer with weights and activations of 8 bits."""
    return replace(layer, weight_bits=8, activation_bits=8, format="")
