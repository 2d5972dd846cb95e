"""Machines by name: the user's own file, a TOML file here, one given by its path, a plugin's entry point."""

from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.files import own_folder
from netsuke.core.registry import nearest
from netsuke.devices.file import read_device
from netsuke.devices.local import local

GROUP = "netsuke.devices"
FOLDER = Path(__file__).parent
RATES = (
    "formats", "coding", "depthwise", "bandwidth", "cache", "cache_bandwidth", "overhead", "call", "session",
    "storage_speed",
)  # fmt: skip
"""Facts that are measured, not read off."""


def device(name: str) -> Device:
    """The device of that name, or read from the ``.toml`` file of that path.

    What ``netsuke devices calibrate`` wrote comes before the file that is shipped. A plugin's entry point
    in the group ``netsuke.devices`` is a Device or the path of a device file. Raises NetsukeError listing near names, or naming what is wrong in the file.
    """
    if name == "local":
        return _calibrated(local())
    if name.endswith(".toml"):
        return read_device(Path(name))
    if name in _own():
        return read_device(own_file(name))
    if (FOLDER / f"{name}.toml").is_file() and name in names():
        return read_device(FOLDER / f"{name}.toml")
    if name in _plugins():
        return _load(_plugins()[name])
    raise NetsukeError(
        f"device: no {name!r}; {nearest(name, list(names()))} Or give the path of a .toml file"
    )


def names() -> tuple[str, ...]:
    """Every device that has a name: this machine first, then the rest by name."""
    placed = {path.stem for path in FOLDER.glob("*.toml")} | _own()
    return ("local", *sorted((placed | set(_plugins())) - {"local"}))


def own_file(name: str) -> Path:
    """Where the user's own file of a device is: ``devices`` in the user's folder for settings."""
    return own_folder("config") / "devices" / f"{name}.toml"


def _own() -> set[str]:
    return {path.stem for path in own_file("any").parent.glob("*.toml")}


def _calibrated(here: Device) -> Device:
    """This machine with the rates that were measured once, where they were."""
    if "local" not in _own():
        return here
    kept = read_device(own_file("local"))
    rates = {name: getattr(kept, name) for name in RATES if name in kept.sources}
    return replace(here, **rates, sources={**here.sources, **{n: kept.sources[n] for n in rates}})


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(point: EntryPoint) -> Device:
    found = point.load()
    if isinstance(found, Device):
        return found
    if isinstance(found, str | Path):
        return read_device(Path(found))
    raise NetsukeError(
        f"device {point.name!r}: its entry point {point.value} is neither a Device nor a path"
    )
