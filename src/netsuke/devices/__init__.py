"""Machines by name: a TOML file here, one given by its path, or a plugin's entry point."""

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from netsuke.core.device import Device
from netsuke.core.errors import NetsukeError
from netsuke.core.registry import nearest
from netsuke.devices.file import read_device
from netsuke.devices.local import local

GROUP = "netsuke.devices"
FOLDER = Path(__file__).parent


def device(name: str) -> Device:
    """The device of that name, or read from the ``.toml`` file of that path.

    A plugin's entry point in the group ``netsuke.devices`` is a Device or the path of a device
    file. Raises NetsukeError listing near names, or naming what is wrong in the file.
    """
    if name == "local":
        return local()
    if name.endswith(".toml"):
        return read_device(Path(name))
    if (FOLDER / f"{name}.toml").is_file() and name in names():
        return read_device(FOLDER / f"{name}.toml")
    if name in _plugins():
        return _load(_plugins()[name])
    raise NetsukeError(
        f"device: no {name!r}; {nearest(name, list(names()))} Or give the path of a .toml file"
    )


def names() -> tuple[str, ...]:
    """Every device that has a name: this machine first, then the rest by name."""
    placed = {path.stem for path in FOLDER.glob("*.toml")}
    return ("local", *sorted(placed | set(_plugins())))


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
