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
    multiply-accumulates per second of one core by number format ("fp32", "int8"; where it has them
    "fp16", "bf16", "e4m3", "e5m2"). bandwidth: bytes
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


REQUIRED = ("memory", "storage", "cores", "kernel_width", "formats", "bandwidth", "overhead")
OPTIONAL = ("runtimes", "energy")


def read_device(path: Path) -> Device:
    """Read a device file: each figure is a table ``{value = …, source = "…"}``.

    Raises NetsukeError naming the file and the field where one is missing, absurd or unsourced.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf8"))
    except OSError as error:
        raise NetsukeError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NetsukeError(f"{path}: not valid TOML: {error}") from error
    title = str(data.pop("title", path.stem))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for key, table in data.items():
        if key not in REQUIRED + OPTIONAL:
            raise NetsukeError(f"{path}: unknown fact {key!r}")
        if not isinstance(table, dict) or not table.get("source") or "value" not in table:
            raise NetsukeError(f"{path}: {key} needs a value and a source")
        values[key], sources[key] = table["value"], str(table["source"]).strip()
    if missing := [key for key in REQUIRED if key not in values]:
        raise NetsukeError(f"{path}: missing {', '.join(missing)}")
    _check(path, values)
    values["runtimes"] = tuple(values.get("runtimes", ("onnxruntime",)))
    return Device(name=path.stem, title=title, sources=sources, **values)


def recorded_device(facts: Mapping[str, Any]) -> Device:
    """The device that a run recorded. Raises NetsukeError where a fact is missing."""
    try:
        return Device(**{**facts, "runtimes": tuple(facts["runtimes"])})
    except (KeyError, TypeError) as error:
        raise NetsukeError(f"device: a run without all its facts ({error}); fit again") from error


def _check(path: Path, values: Mapping[str, Any]) -> None:
    """Raise where a figure is not a number above zero (an overhead may be zero)."""
    figures = {k: values[k] for k in REQUIRED if k != "formats"}
    for key in ("formats", "energy"):
        table = values.get(key, {})
        if not isinstance(table, dict):
            raise NetsukeError(f"{path}: {key} must be a table of numbers, got {table!r}")
        figures |= {f"{key}.{name}": value for name, value in table.items()}
    if "fp32" not in values["formats"]:
        raise NetsukeError(f"{path}: formats lacks fp32, the rate every estimate starts from")
    for key, value in figures.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or value < 0 or (value == 0 and key != "overhead"):
            raise NetsukeError(f"{path}: {key} must be a number above zero, got {value!r}")
