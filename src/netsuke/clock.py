"""The goal's clock: seconds of a model, and of single kernels, on the device; for passes that carve by time."""

from collections.abc import Iterable, Mapping
from functools import partial

from netsuke.core.errors import NetsukeError
from netsuke.core.evidence import find
from netsuke.core.kernels import Kernel, kernel_of, seconds
from netsuke.core.layer import Layer
from netsuke.core.link import Link
from netsuke.core.model import Model
from netsuke.core.roofline import model_seconds
from netsuke.core.runtime import Runtime
from netsuke.core.team import ALONE, Team
from netsuke.nets.together import agreed
from netsuke.workbench import State, Workbench


class LiveClock:
    """Exports and times; on a device that is not this machine, estimates.

    A measurement runs beside the original, so that a busy machine slows both alike. ``readings``
    keeps what it said, so that a replay can make the same choices.
    """

    def __init__(self, bench: Workbench, original: State) -> None:
        self._bench, self._original = bench, original
        self.readings: list[float] = []

    def __call__(self, model: Model) -> float:
        self.readings.append(self._read(self._bench.state(model)))
        return self.readings[-1]

    def _read(self, state: State) -> float:
        device = self._bench.goal.device
        if not device.measured:
            return model_seconds(state.artifact.layers, device)
        base = find(self._original.evidence, "cpu_p50", device.name)
        assert base is not None, "the original is timed before any pass is tried"
        if state.artifact.sha256 == self._original.artifact.sha256:
            return base.value
        found = self._bench.measure(state, self._original, None, ("latency",))
        ratio = find(found, "speedup", device.name)
        assert ratio is not None, "two different files have a ratio"
        return base.value / ratio.value


class RecordedClock:
    """Repeats recorded readings."""

    def __init__(self, readings: Iterable[float]) -> None:
        self._left = list(readings)

    def __call__(self, model: Model) -> float:
        if not self._left:
            raise NetsukeError(
                "replay: a pass asked the clock more often than when it was recorded"
            )
        return self._left.pop(0)


class LiveKernels:
    """The device's table of kernel widths, taken as it is asked for: each kernel is measured once.

    where: the device, reached, or a runtime of this machine. ``readings`` keeps what was measured, by the
    kernels' names.
    """

    def __init__(self, where: Link | Runtime, team: Team = ALONE) -> None:
        self._where, self._team = where, team
        self.readings: dict[str, float | None] = {}

    def __call__(self, layer: Layer) -> float | None:
        kernel = kernel_of(layer)
        return None if kernel is None else seconds(kernel, self._measured)

    def _measured(self, kernel: Kernel) -> float | None:
        name = str(kernel)
        if name not in self.readings:
            read = partial(self._where.kernel_seconds, kernel)
            self.readings[name] = agreed(self._team, read)
        return self.readings[name]


class RecordedKernels:
    """A table that was recorded."""

    def __init__(self, readings: Mapping[str, float | None]) -> None:
        self._readings = readings

    def __call__(self, layer: Layer) -> float | None:
        kernel = kernel_of(layer)
        if kernel is None:
            return None
        return seconds(kernel, lambda each: self._readings.get(str(each)))
