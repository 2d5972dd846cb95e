"""What devices look like in a terminal, and the questions for a new one."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from netsuke.advisor.bounds import Ceiling, LayerBound, shares
from netsuke.advisor.readiness import Need
from netsuke.calibrate import Reading
from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.partition import Route
from netsuke.core.quantity import parse, show
from netsuke.devices.file import FACTS, Fact, checked
from netsuke.links.served import Serving

UNITS = {
    "memory": "B", "storage": "B", "storage_speed": "B/s", "bandwidth": "B/s", "cache": "B", "cache_bandwidth": "B/s",
    "overhead": "s", "call": "s", "session": "B", "coding": "values/s", "power": "W", "energy": "J",
}  # fmt: skip

RATES = ((1e12, "TMAC"), (1e9, "GMAC"), (1e6, "MMAC"), (1.0, "MAC"))
BOUNDS = {"compute": "arithmetic", "memory": "memory", "call": "the call", "nothing": "nothing"}
OUTCOMES = {"ok": "green", "short": "red", "unknown": "yellow"}


def device_table(found: Iterable[Device]) -> Table:
    """A row a device: what decides most."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("name", "machine", "kind", "kernels"):
        table.add_column(name, no_wrap=True)
    for name in ("memory", "FP32", "INT8", "bandwidth"):
        table.add_column(name, justify="right", no_wrap=True)
    for device in found:
        table.add_row(
            device.name, escape(device.title), device.kind, device.unit, show(device.memory, "B"),
            _rate(device, "fp32"), _rate(device, "int8"), f"{show(device.bandwidth, 'B')}/s",
        )  # fmt: skip
    return table


def device_facts(device: Device) -> Table:
    """Every fact with its source."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("fact", no_wrap=True)
    table.add_column("value", no_wrap=True)
    table.add_column("source", overflow="fold")
    for name in FACTS:
        value = getattr(device, name)
        if name in device.sources:
            table.add_row(name, escape(_worded(name, value)), escape(device.sources[name]))
    return table


def reading_table(readings: Iterable[Reading]) -> Table:
    """What was measured, beside what was known."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("fact", "known", "measured"):
        table.add_column(name, no_wrap=True)
    for one in readings:
        known = "–" if one.before is None else _worded(one.fact, one.before)
        table.add_row(one.fact, escape(known), escape(_worded(one.fact, one.after)))
    return table


def bound_table(found: Iterable[LayerBound], device: Device) -> Table:
    """A row a layer that takes time: how long, its share, what bounds it, its energy. Then what bounds all."""
    table = Table(title=f"estimated for {device.name}, batch 1, one thread", title_justify="left",
                  box=None, header_style="bold", pad_edge=False)  # fmt: skip
    for name in ("layer", "op", "output", "bound by"):
        table.add_column(name, no_wrap=True)
    for name in ("MACs", "time", "share", "energy"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [one for one in found if one.seconds]
    for one in rows:
        shape = "×".join(map(str, one.layer.shape))
        table.add_row(
            escape(one.layer.name), one.layer.op, shape, BOUNDS[one.bound], f"{one.layer.macs:,}",
            show(one.seconds, "s"), show(one.share, "%"), _joules([one]),
        )  # fmt: skip
    said = ", ".join(
        f"{BOUNDS[bound]} {100 * share:.0f} %" for bound, share in shares(rows).items()
    )
    total = show(sum(one.seconds for one in rows), "s")
    table.add_section()
    table.add_row("total", "", "", said, f"{sum(one.layer.macs for one in rows):,}", total, "", _joules(rows),
                  style="bold")  # fmt: skip
    return table


def ceiling_table(most: Iterable[Ceiling], device: Device) -> Table:
    """What each technique could win at most."""
    table = Table(title="\nwhat could be won at most (Amdahl)", title_justify="left", box=None,
                  show_header=False, pad_edge=False)  # fmt: skip
    for one in most:
        faster = "nothing" if one.faster is None else f"{one.faster:.2f}× faster"
        table.add_row(one.technique, faster, escape(one.reason))
    return table


def part_table(found: Serving) -> Table:
    """A row a part: where it runs, what of the network it is, and what was measured of it."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("device", "from", "to", "at"):
        table.add_column(name, no_wrap=True)
    for name in ("a call", "memory", "sends on"):
        table.add_column(name, justify="right", no_wrap=True)
    for part in found.parts:
        table.add_row(
            part["device"], escape(part["from"]), escape(part["to"]), part["address"].removeprefix("tcp://"),
            show(part["seconds"], "s"), show(part["memory"], "B"), show(part["sends"], "B"),
        )  # fmt: skip
    return table


def routes_of(text: str, devices: int) -> tuple[Route, ...]:
    """``10Mbit/20ms,1Gbit``: between each two of some devices. Raises NetsukeError where it is none."""
    routes = tuple(_route(word.strip()) for word in text.split(","))
    if len(routes) != devices - 1:
        raise NetsukeError(f"--link: {len(routes)} between {devices} devices; give {devices - 1}")
    return routes


def _route(text: str) -> Route:
    rate, _, delay = text.partition("/")
    found = re.fullmatch(r"([0-9.]+) *([kMG]?)bit(?:/s)?", rate.strip())
    if found is None or not float(found[1]):
        raise NetsukeError(f"--link: {text!r} is no rate and delay, such as 10Mbit/20ms")
    bits = float(found[1]) * {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}[found[2]]
    return Route(bandwidth=bits / 8, delay=parse(delay, "seconds", "--link") if delay else 0.0)


def need_table(needs: Iterable[Need], when: str) -> Table:
    """Whether the device has what the model needs, as it is or after something was done to it."""
    table = Table(title=f"\nwhat it needs {when}", title_justify="left", box=None, show_header=False,
                  pad_edge=False)  # fmt: skip
    for need in needs:
        table.add_row(
            need.what, f"[{OUTCOMES[need.outcome]}]{need.outcome}[/]", escape(need.reason)
        )
    return table


def _joules(found: Sequence[LayerBound]) -> str:
    known = [one.joules for one in found if one.joules is not None]
    return show(sum(known), "J") if known else "unknown"


def ask_device(name: str, like: Device | None) -> Device:
    """A device from answers at the terminal; an answer that cannot be is asked for again."""
    title = typer.prompt("Name of the machine", default=like.title if like else None)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for key, fact in FACTS.items():
        value = _asked(key, fact, like)
        if value is None:
            continue
        values[key] = tuple(value) if fact.many else value
        given = like.sources.get(key) if like and getattr(like, key) == values[key] else None
        sources[key] = typer.prompt("  Source", default=given)
    return Device(name=name, title=title, sources=sources, **values)


def _asked(key: str, fact: Fact, like: Device | None) -> Any:
    """A value that can be; None where the question is passed over."""
    offered = _written(getattr(like, key)) if like and key in like.sources else None
    question = fact.ask + (f" ({', '.join(fact.choices)})" if fact.choices else "")
    while True:
        default = offered or (None if fact.needed else "")
        answer = typer.prompt(question, default=default, show_default=bool(default))
        if not answer:
            return None
        try:
            return checked(key, _read(answer, fact))
        except NetsukeError as error:
            typer.echo(f"  {error}")


def _read(answer: str, fact: Fact) -> Any:
    """``fp32=4.8e9, int8=7.2e9`` is a table, ``wifi, usb`` a list."""
    words = [word.strip() for word in answer.split(",") if word.strip()]
    if fact.many:
        return words
    if fact.table:
        pairs = (word.partition("=") for word in words)
        return {key.strip(): _number(value) for key, _, value in pairs}
    return answer if fact.choices else _number(answer)


def _number(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text.strip()}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _written(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, tuple):
        return ", ".join(value) or None
    if isinstance(value, dict):
        return ", ".join(f"{key}={number:g}" for key, number in value.items()) or None
    return f"{value:g}" if isinstance(value, float) else str(value)


def _worded(name: str, value: Any) -> str:
    unit = UNITS.get(name, "/s" if name in ("formats", "depthwise") else "")
    if isinstance(value, dict):
        return "\n".join(f"{key} {_amount(number, unit)}" for key, number in value.items())
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return value if isinstance(value, str) else _amount(value, unit)


def _amount(value: float, unit: str) -> str:
    if unit == "/s":
        factor, name = next((f, n) for f, n in RATES if value >= f or f == 1.0)
        return f"{value / factor:.3g} {name}/s"
    return f"{show(value, unit.removesuffix('/s'))}{'/s' if unit.endswith('/s') else ''}"


def _rate(device: Device, name: str) -> str:
    return _amount(device.formats[name], "/s") if name in device.formats else "–"
