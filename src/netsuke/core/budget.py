"""The limits a carved model must stay within."""

from dataclasses import dataclass

from netsuke.core.quantity import Kind, parse

KINDS: dict[str, Kind] = {
    "size": "bytes",
    "latency_p95": "seconds",
    "memory": "bytes",
    "energy": "joules",
    "drop": "points",
    "robustness_drop": "points",
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits; None is no limit. Strings with units are parsed (``Budget(size="100 KB")``).

    size: bytes on disk. latency_p95: seconds a call, batch 1, one thread. memory: peak resident
    bytes of a fresh process above an idle one. energy: joules an inference. drop: quality lost
    against the original, in points (0.01 of the metric's scale). robustness_drop: the same, on
    corrupted input.
    """

    size: str | float | None = None
    latency_p95: str | float | None = None
    memory: str | float | None = None
    energy: str | float | None = None
    drop: str | float | None = None
    robustness_drop: str | float | None = None

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, parse(given, kind, f"budget {name}"))

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name, in SI units."""
        return {name: float(v) for name in KINDS if (v := getattr(self, name)) is not None}
