"""Verbs for devices that are reached: the agent that runs on one, and getting to know it."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from netsuke.core.errors import NetsukeError
from netsuke.core.files import own_folder
from netsuke.terminal import Terminal


def agent(
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; it pairs at the one after it.")] = 5747,
    pair: Annotated[bool, typer.Option("--pair", help="Show a code for one more machine.")] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Where it keeps what it must not forget [default: ~/.local/state/netsuke]."
        ),
    ] = None,
    federate: Annotated[
        Path | None,
        typer.Option(
            help="The workload whose data a paired server may have it train on, here.", exists=True
        ),
    ] = None,
    secure: Annotated[
        bool,
        typer.Option(
            "--secure", help="It says what it learned under masks alone: netsuke federate --secure."
        ),
    ] = False,
) -> None:
    """Run on a device: receive models, measure them and serve them, for machines it was paired with."""
    told = {
        "host": host, "port": port, "pair": pair, "state": str(state or own_folder("state")),
        "federate": str(federate.absolute()) if federate else "", "secure": secure,
    }  # fmt: skip
    command = [sys.executable, "-m", "netsuke.agent", json.dumps(told)]
    # In the place of this process, which has loaded what an agent does not need.
    os.execv(sys.executable, command)


def pair(
    name: Annotated[str, typer.Argument(help="What to call the device, e.g. kitchen-pi.")],
    address: Annotated[
        str | None, typer.Argument(help="HOST or HOST:PORT its agent shows.")
    ] = None,
    code: Annotated[str | None, typer.Argument(help="The code its agent shows.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Not to be reached any more.")] = False,
) -> None:
    """Get to know a device that runs netsuke agent, once; then --on NAME and --device NAME reach it."""
    from netsuke.devices import own_file
    from netsuke.links import book

    if forget:
        book.forget(name)
        own_file(name).unlink(missing_ok=True)
        typer.echo(f"  {name} is forgotten here; on it, delete its known/ file of this machine")
        return
    if address is None or code is None:
        raise NetsukeError(
            "pair: give the address and the code that netsuke agent shows on the device"
        )
    _meet(name, address, code)


def _meet(name: str, address: str, code: str) -> None:
    """Pair, and keep what the device says of itself as a device file."""
    from netsuke.cli.machines import device_table
    from netsuke.core.runtime import runtime_named
    from netsuke.devices import own_file
    from netsuke.devices.file import write_device
    from netsuke.links.pair import pair as paired
    from netsuke.links.remote import Remote

    paired(name, address, code)
    link = Remote(name, runtime_named("onnxruntime"))
    try:
        found = link.device()
    finally:
        link.close()
    write_device(found, own_file(name))
    out = Terminal().out
    out.print(device_table([found]))
    out.print(f"  netsuke measure RUN --on {name}, netsuke fit … --device {name}")
