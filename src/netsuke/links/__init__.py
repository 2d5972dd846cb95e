"""How devices are reached: this machine, and those that were paired with it."""

from dataclasses import replace

from netsuke.core.device import Device
from netsuke.core.link import Link
from netsuke.core.observer import Observer
from netsuke.core.runtime import Runtime
from netsuke.links.book import names as paired
from netsuke.links.local import Local

__all__ = ["paired", "reach", "reachable"]


def reachable(device: Device) -> Device:
    """The device, with ``measured`` said of it where it can be measured on: it is this machine, or paired."""
    return replace(device, measured=True) if device.name in paired() else device


def reach(device: Device, runtime: Runtime, observer: Observer) -> Link:
    """The link to a device; this machine's where it is not paired. observer: told of files on their way. Raises
    NetsukeError where its agent does not answer."""
    if device.name not in paired():
        return Local(runtime)
    from netsuke.links.remote import Remote

    return Remote(device.name, runtime, observer)
