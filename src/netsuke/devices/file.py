"""Device files: TOML, a table a fact, each figure with its source."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.files import write_text
from netsuke.core.registry import nearest


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What a fact may be. ask: the question for it. low, high: of a number, or of each of a table's.
    choices: of a word, or of each of a list's. table, many: it holds several. needed: no device is
    without it."""

    ask: str
    low: float = 0.0
    high: float = float("inf")
    choices: tuple[str, ...] = ()
    table: bool = False
    many: bool = False
    needed: bool = False


KINDS = ("microcontroller", "board", "phone", "accelerator", "computer", "server")
FORMATS = ("fp32", "fp16", "bf16", "e4m3", "e5m2", "int8", "int4")
FACTS = {
    "kind": Fact(ask="What it is", choices=KINDS),
    "memory": Fact(ask="RAM, bytes", low=1e3, high=1e14, needed=True),
    "storage": Fact(ask="Storage or flash, bytes", low=1e3, high=1e16, needed=True),
    "storage_speed": Fact(ask="Reading from storage, bytes/s", low=1e3, high=1e12),
    "cores": Fact(ask="Cores, or units of an accelerator", low=1, high=1e5, needed=True),
    "kernel_width": Fact(ask="Channels its kernels work on at a time", low=1, high=1024, needed=True),
    "unit": Fact(ask="What it multiplies with", choices=("scalar", "vector", "matrix")),
    "formats": Fact(
        ask="Multiply-accumulates/s of one core, by format", low=1e3, high=1e16, choices=FORMATS,
        table=True, needed=True,
    ),
    "depthwise": Fact(
        ask="Multiply-accumulates/s of its depthwise kernels, by format", low=1e3, high=1e16, choices=FORMATS,
        table=True,
    ),
    "coding": Fact(ask="Values/s that a core lays out and rounds for integers", low=1e3, high=1e16),
    "fallback": Fact(ask="Formats that another processor computes for it", choices=FORMATS, many=True),
    "sparse": Fact(ask="Patterns of zeros its kernels skip", choices=("free", "2:4", "4:8"), many=True),
    "bandwidth": Fact(ask="Main memory, bytes/s", low=1e4, high=1e14, needed=True),
    "cache": Fact(ask="Cache that a core reaches, bytes", low=1e3, high=1e11),
    "cache_bandwidth": Fact(ask="Reading from that cache, bytes/s", low=1e4, high=1e14),
    "overhead": Fact(ask="Fixed cost of a node, seconds", high=1.0, needed=True),
    "call": Fact(ask="Fixed cost of a call, seconds", high=1.0),
    "session": Fact(ask="RAM the runtime takes for any model, bytes", low=1e3, high=1e10),
    "runtimes": Fact(ask="Runtimes", many=True),
    "connectivity": Fact(
        ask="Connectivity", choices=("wifi", "bluetooth", "ethernet", "usb", "cellular", "none"), many=True,
    ),
    "power": Fact(ask="Watts", low=1e-7, high=1e5, choices=("idle", "load"), table=True),
    "energy": Fact(
        ask="Joules of a multiply-accumulate, by format, and of a byte", low=1e-15, high=1e-3,
        choices=(*FORMATS, "byte"), table=True,
    ),
}  # fmt: skip
WHOLE = ("cores", "kernel_width")


def read_device(path: Path) -> Device:
    """Read a device file: each fact is a table ``{value = …, source = "…"}``.

    Raises NetsukeError naming the file, the line and the fact where one is missing, absurd or
    unsourced.
    """
    try:
        text = path.read_text(encoding="utf8")
        data = tomllib.loads(text)
    except OSError as error:
        raise NetsukeError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NetsukeError(f"{path}: not valid TOML: {error}") from error
    title = str(data.pop("title", path.stem))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, table in data.items():
        for fault in _faults(name, table):
            raise NetsukeError(f"{path}{_line(text, name)}: {fault}")
        values[name], sources[name] = table["value"], str(table["source"]).strip()
    if missing := [name for name, fact in FACTS.items() if fact.needed and name not in values]:
        raise NetsukeError(f"{path}: missing {', '.join(missing)}")
    values |= {name: tuple(values[name]) for name in values if FACTS[name].many}
    return Device(name=path.stem, title=title, sources=sources, **values)


def write_device(device: Device, path: Path) -> None:
    """Write a device file, whole or not at all. Facts without a source are left out."""
    tables = {
        name: {"value": _plain(getattr(device, name)), "source": device.sources[name]}
        for name in FACTS
        if name in device.sources
    }
    write_text(path, tomli_w.dumps({"title": device.title, **tables}, multiline_strings=True))


def checked(name: str, value: Any) -> Any:
    """The value, where the fact may be it. Raises NetsukeError saying why it may not."""
    for fault in _value_faults(name, FACTS[name], value):
        raise NetsukeError(fault)
    return value


def _faults(name: str, table: Any) -> Iterator[str]:
    """What is wrong with a fact as the file gives it."""
    fact = FACTS.get(name)
    if fact is None:
        yield f"unknown fact {name!r}; {nearest(name, list(FACTS))}"
    elif not isinstance(table, dict) or not table.get("source") or "value" not in table:
        yield f"{name} needs a value and a source"
    else:
        yield from _value_faults(name, fact, table["value"])


def _value_faults(name: str, fact: Fact, value: Any) -> Iterator[str]:
    if fact.table:
        if not isinstance(value, dict):
            yield f"{name} must be a table of numbers, got {value!r}"
            return
        for key, number in value.items():
            yield from _word_faults(name, fact, key)
            yield from _number_faults(f"{name}.{key}", fact, number)
        if name == "formats" and "fp32" not in value:
            yield "formats lacks fp32, the rate every estimate starts from"
        if name == "power" and value.get("idle", 0) > value.get("load", float("inf")):
            yield f"power.idle is {value['idle']:g} W, more than power.load, {value['load']:g} W"
    elif fact.many:
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            yield f"{name} must be a list of names, got {value!r}"
            return
        for word in value:
            yield from _word_faults(name, fact, word)
    elif fact.choices:
        yield from _word_faults(name, fact, value)
    else:
        yield from _number_faults(name, fact, value)


def _word_faults(name: str, fact: Fact, word: Any) -> Iterator[str]:
    if fact.choices and word not in fact.choices:
        yield f"{name}: no {word!r}; there are: {', '.join(fact.choices)}"


def _number_faults(name: str, fact: Fact, value: Any) -> Iterator[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or value < 0 or (value == 0 and fact.low > 0):
        yield f"{name} must be a number above zero, got {value!r}"
    elif not fact.low <= value <= fact.high:
        yield f"{name} = {value:g} is absurd: {fact.ask.lower()}, from {fact.low:g} to {fact.high:g}"
    elif name in WHOLE and value != int(value):
        yield f"{name} must be a whole number, got {value!r}"


def _line(text: str, name: str) -> str:
    """``:LINE`` where the fact stands; nothing where it is written another way."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*(\[\s*{re.escape(name)}\s*\]|{re.escape(name)}\s*[.=])", line):
            return f":{number}"
    return ""


def _plain(value: Any) -> Any:
    """A value as TOML has it."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
