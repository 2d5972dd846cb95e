"""What was found out about an artifact, and how: the only thing a verdict may rest on."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from netsuke.core.quantity import show

Source = Literal["measured", "emulated", "estimated"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One figure. ``value``, ``low`` and ``high`` (95 % interval; of an estimate, the range it may be
    off by) are in ``unit``'s SI base.

    what: "size", "quality", "drop", "latency_p50", "latency_p95", "cpu_p50", "speedup",
    "memory", "agreement", ... unit: "B", "s", "J", "%" (fraction), "pt" (fraction), "x" or "".
    samples: how many observations the value rests on. note: what a reader must know.
    """

    what: str
    value: float
    unit: str
    source: Source
    device: str
    samples: int = 1
    low: float | None = None
    high: float | None = None
    note: str = ""

    def __str__(self) -> str:
        text = show(self.value, self.unit)
        if self.low is not None and self.high is not None:
            kind = "range" if self.source == "estimated" else "95 %"
            text += f" ({kind}: {show(self.low, self.unit)} … {show(self.high, self.unit)})"
        if self.source != "measured":
            text += f" {self.source} for {self.device}"
        return text

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping; ``Evidence(**d)`` reads it back."""
        return asdict(self)


def find(evidence: Iterable[Evidence], what: str, device: str | None = None) -> Evidence | None:
    """The one piece about ``what`` (on ``device`` when given), or None: missing is not zero.

    A measurement comes before an emulation, an emulation before an estimate.
    """
    rank = {"measured": 0, "emulated": 1, "estimated": 2}
    about = [e for e in evidence if e.what == what and device in (None, e.device)]
    return min(about, key=lambda e: rank[e.source], default=None)
