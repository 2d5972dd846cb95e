"""Facts about a machine a model must fit."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from netsuke.core.errors import NetsukeError


@dataclass(frozen=True, kw_only=True)
class Device:
    """A machine a model must fit.

    kind: "microcontroller", "board", "phone", "accelerator", "computer" or "server". memory, storage: bytes; of a
    microcontroller, its RAM and its flash. cores: of an accelerator, its units. kernel_width: channels
    its dense kernels work on at a time. formats: multiply-accumulates per second of one core, sustained,
    by number format ("fp32", "int8"; where it has kernels for them "fp16", "bf16", "e4m3", "e5m2",
    "int4"). depthwise: the same of depthwise kernels, where it is known. coding: values per second that one core lays out
    for kernels of integers and rounds behind them, 0 where that is not known. fallback: those of them that another processor computes for it. bandwidth: bytes per second from
    main memory. cache, cache_bandwidth: bytes that stay near a core between calls, and how fast they come; 0
    where that is not known. overhead, call: seconds of fixed cost per executed
    node, and per call. session: bytes that the runtime takes
    for any model, None where that was not measured. unit: what it multiplies with,
    "scalar", "vector" or "matrix". sparse: patterns of zeros its kernels skip ("free", "2:4").
    storage_speed: bytes per second read from storage. connectivity: how models and updates reach it.
    runtimes: names that run there. power: watts, "idle" and "load". energy: joules of one
    multiply-accumulate by format, and of a "byte" from main memory. measured: True where Netsuke runs
    on the device itself, so that its figures are measurements. sources: field name → where the figure
    comes from.
    """

    name: str
    title: str
    memory: float
    storage: float
    cores: int
    kernel_width: int
    formats: Mapping[str, float]
    bandwidth: float
    overhead: float
    cache: float = 0.0
    cache_bandwidth: float = 0.0
    call: float = 0.0
    session: float | None = None
    coding: float = 0.0
    depthwise: Mapping[str, float] = field(default_factory=dict)
    kind: str = "board"
    fallback: tuple[str, ...] = ()
    unit: str = "vector"
    sparse: tuple[str, ...] = ()
    storage_speed: float | None = None
    connectivity: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ("onnxruntime",)
    power: Mapping[str, float] = field(default_factory=dict)
    energy: Mapping[str, float] = field(default_factory=dict)
    measured: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)


def recorded_device(facts: Mapping[str, Any]) -> Device:
    """The device that a run recorded. Raises NetsukeError where a fact is missing."""
    lists = {f.name for f in fields(Device) if str(f.type).startswith("tuple")}
    given: dict[str, Any] = {k: tuple(v) if k in lists else v for k, v in facts.items()}
    try:
        return Device(**given)
    except (KeyError, TypeError) as error:
        raise NetsukeError(f"device: a run without all its facts ({error}); fit again") from error
