"""How figures are worded: one place, so that HTML and Markdown say the same."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from netsuke.core.evidence import Evidence, find
from netsuke.core.quantity import show

UNKNOWN = "unknown"

TITLES = {
    "size": "Size on disk",
    "stored": "Stored form",
    "latency_p50": "Latency, median call",
    "latency_p95": "Latency, 95th percentile",
    "cpu_p50": "CPU time, median call",
    "memory": "Peak memory",
    "energy": "Energy an inference",
    "drop": "Quality against the original",
    "control": "Dense control of equal training",
    "control_drop": "Quality against the dense control",
    "robustness_drop": "Quality on corrupted input",
    "speedup": "CPU time against the original",
    "agreement": "Predictions equal, simulated and executed",
    "parity_max": "Largest difference, simulated and executed",
    "parity": "Simulated as executed",
    "step_size": "Size against the step before",
    "step_speedup": "Time against the step before",
}
# (better, worse) when a figure of this name shrinks or grows by a ratio.
RATIO_WORDS = {
    "size": ("smaller", "larger"),
    "stored": ("smaller", "larger"),
    "memory": ("smaller", "larger"),
    "energy": ("less", "more"),
    "step_size": ("smaller", "larger"),
}
SPEED_WORDS = ("faster", "slower")
LOSSES = ("drop", "control_drop", "robustness_drop")


@dataclass(frozen=True)
class Metric:
    """What quality means in this run. relative: a drop is a share of the original's value."""

    name: str
    unit: str
    higher: bool

    @property
    def relative(self) -> bool:
        return self.unit != "%"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A figure in words. Unknown ones say so: ``text`` is never empty.

    interval: ``3.61× … 3.79×``. span: what the interval is: 95 % of a measurement, or the range an
    estimate may be off by. samples: None where there are none, as of an estimate.
    """

    text: str = UNKNOWN
    interval: str = ""
    span: str = "95 %"
    samples: int | None = None
    source: str = ""

    @property
    def known(self) -> bool:
        return self.text != UNKNOWN

    @property
    def qualifier(self) -> str:
        """The source, where it is not a measurement: it goes wherever the figure goes."""
        return "" if not self.known or self.source.startswith("measured") else self.source

    @property
    def line(self) -> str:
        """The figure with all that qualifies it, in one line."""
        text = f"{self.text} {self.qualifier}".rstrip()
        return f"{text} ({self.span}: {self.interval})" if self.interval else text


def shown(value: float, unit: str) -> str:
    """``core.quantity.show`` with a true minus sign."""
    return show(value, unit).replace("-", "−")


def whole(value: float) -> str:
    """A count with its thousands apart: ``269,722``."""
    return f"{value:,.0f}"


def source(evidence: Evidence) -> str:
    """``measured here``, ``measured on pi5``, ``estimated for pi4``."""
    if evidence.device == "local":
        return f"{evidence.source} here"
    return f"{evidence.source} {'on' if evidence.source == 'measured' else 'for'} {evidence.device}"


def fact(evidence: Evidence | None, metric: Metric | None = None) -> Fact:
    """The figure in words; a loss of quality becomes a change, so that negative is worse."""
    if evidence is None:
        return Fact()
    text, low, high = _worded(evidence, metric)
    interval = f"{_unitless(low, high)} … {high}" if low else ""
    return Fact(
        text=text,
        interval=interval,
        span="range" if evidence.source == "estimated" else "95 %",
        samples=None if evidence.source == "estimated" else evidence.samples,
        source=source(evidence),
    )


def _worded(e: Evidence, metric: Metric | None) -> tuple[str, str, str]:
    """The value and the interval's two ends, in words; the ends empty where there is no interval."""
    bounded = e.low is not None and e.high is not None
    low, high = (e.low or 0.0, e.high or 0.0) if bounded else (0.0, 0.0)
    if e.what in LOSSES and metric is not None:
        texts = tuple(change(v, metric) for v in (e.value, high, low))
    elif e.unit == "x":
        value, ends, word = _ratio(e.what, e.value, low, high)
        texts = (f"{shown(value, 'x')} {word}", *(shown(end, "x") for end in ends))
    else:
        texts = (shown(e.value, e.unit), shown(low, e.unit), shown(high, e.unit))
    return (texts[0], texts[1], texts[2]) if bounded else (texts[0], "", "")


def change(loss: float, metric: Metric) -> str:
    """A loss as a change of quality: ``−0.33 pt``, or ``1.20 % worse`` for a metric of its own unit."""
    if not metric.relative:
        return shown(-loss + 0.0, "pt")
    return f"{shown(abs(loss), '%')} {'worse' if loss > 0 else 'better'}" if loss else "no change"


def _ratio(
    what: str, value: float, low: float, high: float
) -> tuple[float, tuple[float, float], str]:
    """A ratio below one is turned round, with its interval, and worded as a loss."""
    better, worse = RATIO_WORDS.get(what, SPEED_WORDS)
    if value >= 1 or value <= 0:
        return value, (low, high), better
    return 1 / value, (1 / high if high else 0.0, 1 / low if low else 0.0), worse


def ratio(what: str, before: Evidence | None, after: Evidence | None) -> Fact:
    """How the figure changed; unknown unless both are known from the same source and device."""
    if before is None or after is None or not before.value > 0 or not after.value > 0:
        return Fact()
    if (before.source, before.device) != (after.source, after.device):
        return Fact()
    value, _, word = _ratio(what, before.value / after.value, 0.0, 0.0)
    return Fact(text=f"{shown(value, 'x')} {word}", source=source(after))


def _unitless(low: str, high: str) -> str:
    """``−0.89 pt … +0.33 pt`` needs its unit once."""
    number, _, unit = low.partition(" ")
    return number if unit and high.endswith(f" {unit}") else low


def placed(
    evidence: Iterable[Evidence], what: str, device: str
) -> tuple[Evidence | None, Evidence | None]:
    """(on the device asked for, here): the second is None where the device is this machine."""
    found = tuple(evidence)
    return find(found, what, device), None if device == "local" else find(found, what, "local")


def sentence(evidence: tuple[Evidence, ...], metric: Metric, device: str, what: str) -> str:
    """``61.2 kB, 110 µs here, −0.33 pt (95 %: −0.89 … +0.33 pt, 900 samples)``."""
    size, drop = find(evidence, "size"), fact(find(evidence, "drop"), metric)
    parts = [fact(size).text if size else "size unknown", _speed(evidence, device, what)]
    if not drop.known:
        return ", ".join([*parts, f"{metric.name} unknown"])
    inside = [f"{drop.span}: {drop.interval}"] if drop.interval else []
    inside.append(f"{whole(drop.samples or 0)} samples")
    return ", ".join([*parts, f"{drop.text} ({', '.join(inside)})"])


def _speed(evidence: tuple[Evidence, ...], device: str, what: str) -> str:
    there, here = placed(evidence, what, device)
    quantile = "p95 " if what == "latency_p95" else ""
    if device == "local":
        return f"{quantile}{fact(there).text} here" if there else "latency unknown"
    aside = f" ({quantile}{fact(here).text} {here.source} here)" if here else ""
    if there is None:
        return f"latency on {device} unknown{aside}"
    verb = "on" if there.source == "measured" else f"{there.source} on"
    return f"{quantile}{fact(there).text} {verb} {device}{aside}"


def texts(values: Mapping[str, Any], missing: str) -> tuple[tuple[str, str], ...]:
    """Settings and versions as text; ``missing`` is what None and nothing mean among them."""
    return tuple((str(k), _text(v) or missing) for k, v in values.items())


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
