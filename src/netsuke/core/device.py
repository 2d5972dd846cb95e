"""Facts about a machine. One TOML file each; every figure carries its source."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netsuke.core.errors import NetsukeError


@dataclass(frozen=True, kw_only=True)
class Device:
    """A machine a model must fit.

    memory, storage: bytes. cores. kernel_width: channels its kernels work on at a time. formats:
    multiply-accumulates per second of one core by number format ("fp32", "int8"). bandwidth: bytes
    per second from main memory. overhead: seconds of fixed cost per executed node. runtimes: names
    that run there. energy: joules, by name of what costs it. measured: True where Netsuke runs on
    the device itself, so that its figures are measurements. sources: field name → where the figure
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
    runtimes: tuple[str, ...] = ("onnxruntime",)
    energy: Mapping[str, float] = field(default_factory=dict)
    measured: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)


def read_device(path: Path) -> Device:
    """Read a device file: each figure is a table ``{value = …, source = "…"}``.

    Raises NetsukeError naming the file and the field where one is missing, absurd or unsourced.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf8"))
    except tomllib.TOMLDecodeError as error:
        raise NetsukeError(f"{path}: not valid TOML: {error}") from error
    values: dict[str, Any] = {"name": path.stem, "title": data.pop("title", path.stem)}
    sources: dict[str, str] = {}
    for key, table in data.items():
        if key not in Device.__dataclass_fields__:
            raise NetsukeError(f"{path}: unknown fact {key!r}")
        if not isinstance(table, dict) or not table.get("source") or "value" not in table:
            raise NetsukeError(f"{path}: {key} needs a value and a source")
        values[key], sources[key] = table["value"], table["source"]
    missing = [
        f for f in ("memory", "storage", "cores", "kernel_width", "formats", "bandwidth", "overhead")
        if f not in values
    ]  # fmt: skip
    if missing:
        raise NetsukeError(f"{path}: missing {', '.join(missing)}")
    for key in ("memory", "storage", "cores", "kernel_width", "bandwidth"):
        if not isinstance(values[key], int | float) or values[key] <= 0:
            raise NetsukeError(f"{path}: {key} must be a number above zero, got {values[key]!r}")
    values["runtimes"] = tuple(values.get("runtimes", ("onnxruntime",)))
    return Device(**values, sources=sources)
