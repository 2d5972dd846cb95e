"""Verbs about machines: which there are, what is known of one, and a new one."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from typer.core import TyperGroup

from netsuke.cli.machines import ask_device, device_facts, device_table, reading_table
from netsuke.cli.options import AsJson, print_json
from netsuke.core.errors import NetsukeError
from netsuke.terminal import Terminal


class _NamedOrVerb(TyperGroup):
    """``netsuke devices pi4`` is ``netsuke devices show pi4``."""

    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]
        if args and args[0] not in self.commands:
            args = ["show", *args]
        return super().resolve_command(ctx, args)


devices = typer.Typer(
    cls=_NamedOrVerb,
    help="List the machines that models are fitted to; with a NAME, all that is known of one.",
)


@devices.callback(invoke_without_command=True)
def _all(context: typer.Context, as_json: AsJson = False) -> None:
    from netsuke import devices as known

    if context.invoked_subcommand is not None:
        return
    found = [known.device(name) for name in known.names()]
    if as_json:
        print_json([asdict(device) for device in found])
    else:
        Terminal().out.print(device_table(found))


@devices.command()
def show(
    name: Annotated[str, typer.Argument(help="A device's name or TOML file.")],
    as_json: AsJson = False,
) -> None:
    """All facts about a machine, each with its source."""
    from netsuke.devices import device

    found = device(name)
    if as_json:
        print_json(asdict(found))
        return
    out = Terminal().out
    out.print(f"  [bold]{escape(found.title)}[/bold]")
    out.print(device_facts(found))


@devices.command()
def add(
    path: Annotated[Path, typer.Argument(help="The TOML file to write, e.g. my_board.toml.")],
    like: Annotated[
        str | None, typer.Option(help="A known device whose facts are offered as answers.")
    ] = None,
) -> None:
    """Ask for a machine's facts and where they come from, and write a device file."""
    from netsuke.devices import device
    from netsuke.devices.file import write_device

    if path.suffix != ".toml":
        raise NetsukeError(f"{path}: a device file ends in .toml")
    if path.exists():
        raise NetsukeError(f"{path}: is there already; choose another name, or edit it")
    write_device(ask_device(path.stem, None if like is None else device(like)), path)
    typer.echo(f"  {path}   netsuke devices {path}, or --device {path}")


@devices.command()
def calibrate(
    name: Annotated[
        str, typer.Argument(help="A paired device, or the device this machine is.")
    ] = "local",
    as_json: AsJson = False,
) -> None:
    """Measure the rates of a paired device or of this machine and keep them: they count more than the device's file."""
    from netsuke import flow
    from netsuke.devices import own_file

    terminal = Terminal(quiet=as_json)
    found, readings = flow.calibrate(name, terminal)
    if as_json:
        print_json(asdict(found))
        return
    terminal.out.print(reading_table(readings))
    terminal.out.print(f"  {own_file(found.name)}")
