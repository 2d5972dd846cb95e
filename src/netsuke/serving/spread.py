"""Served on devices from now on, kept where it runs best, or served no longer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from netsuke.core.artifact import Artifact
from netsuke.core.errors import NetsukeError
from netsuke.core.observer import Observer
from netsuke.core.runtime import Runtime
from netsuke.links.remote import Remote
from netsuke.links.served import Serving
from netsuke.serving.keeper import Keeper
from netsuke.serving.network import Spread
from netsuke.serving.placement import end_parts
from netsuke.wire.caller import PATIENCE


@contextmanager
def keeping(
    artifact: Artifact, runtime: Runtime, devices: Sequence[str], how: Spread, observer: Observer | None = None
) -> Iterator[Keeper]:  # fmt: skip
    """Cut the artifact, ship the parts, and serve them on these paired devices, of which the first is called.

    Raises NetsukeError where a device does not answer, or none can hold its part, saying what would fit.
    """
    twice = {name for name in devices if devices.count(name) > 1}
    if twice:
        raise NetsukeError(
            f"--on: {', '.join(sorted(twice))} is there twice; name each device once"
        )
    with ExitStack() as stack:
        watch = observer or Observer()
        links = [stack.enter_context(Remote(name, runtime, watch)) for name in devices]
        yield stack.enter_context(Keeper(artifact, runtime, links, how, watch))


def serve(
    artifact: Artifact, runtime: Runtime, devices: Sequence[str], how: Spread, observer: Observer | None = None
) -> Serving:  # fmt: skip
    """As ``keeping``, and left as it is then."""
    with keeping(artifact, runtime, devices, how, observer) as keeper:
        return keeper.serving


def stop(serving: Serving, runtime: Runtime) -> None:
    """Serve it no longer, nor what is left of where it was before. Raises NetsukeError where a device does not answer, when
    the others serve it no more."""
    serving.forget()  # first, for who watches it ends then
    silent = list[NetsukeError]()
    for name in serving.devices:
        try:
            with Remote(name, runtime) as link:
                end_parts(link, serving.name, PATIENCE)
        except NetsukeError as error:
            silent.append(error)
    if silent:
        serving.write()
        raise silent[0]
